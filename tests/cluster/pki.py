"""Certificates and kubeconfigs, signed by a throw-away authority."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, stem: Path) -> tuple[Path, Path]:
        """Write `<stem>.crt` and `<stem>.key`, the key readable by its owner only; return the two paths."""
        certificate, key = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
        certificate.write_bytes(self.certificate)
        write_private(key, self.key)
        return certificate, key


class Authority:
    """The cluster's certificate authority, kept in a directory as `ca.crt` and `ca.key`."""

    def __init__(self, directory: Path, now: datetime.datetime) -> None:
        self._now = now
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "ca.key").exists():
            private = ec.generate_private_key(ec.SECP256R1())
            name = _name("detectron-test-ca", ())
            builder = self._builder(name, name, private).add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True
            )
            Certificate(_pem(builder.sign(private, hashes.SHA256())), private_pem(private)).write(
                directory / "ca"
            )
        self.path = directory / "ca.crt"
        self._certificate = x509.load_pem_x509_certificate(self.path.read_bytes())
        loaded = serialization.load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{directory}/ca.key is not an elliptic-curve key; remove the folder")
        self._private = loaded

    def issue(self, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Certificate:
        """A certificate for a Kubernetes user and groups, or for a server at these names and addresses."""
        private = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(user, groups), self._certificate.subject, private)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False
            )
        return Certificate(_pem(builder.sign(self._private, hashes.SHA256())), private_pem(private))

    def kubeconfig(self, server: str, user: str, groups: Sequence[str] = ()) -> str:
        """A kubeconfig (JSON, which is YAML) for `user`, with everything embedded."""
        identity = self.issue(user, groups)
        cluster = {"server": server, "certificate-authority-data": _b64(self.path.read_bytes())}
        credentials = {
            "client-certificate-data": _b64(identity.certificate),
            "client-key-data": _b64(identity.key),
        }
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "test", "cluster": cluster}],
                "users": [{"name": user, "user": credentials}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                "current-context": "test",
            },
            indent=1,
        )

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, private: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - datetime.timedelta(hours=1))
            .not_valid_after(self._now + _LIFETIME)
        )


def write_service_account_keys(directory: Path) -> None:
    """Write the pair that signs and checks service-account tokens, `service-account.{key,pub}`, once."""
    if (directory / "service-account.pub").exists():
        return
    private = ec.generate_private_key(ec.SECP256R1())
    write_private(directory / "service-account.key", private_pem(private))
    (directory / "service-account.pub").write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; who reads meanwhile sees the old content or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.rename(path)


def private_pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _name(common: str, organizations: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
