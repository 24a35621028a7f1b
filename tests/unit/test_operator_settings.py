"""Settings: flags before environment before defaults, and clear refusals."""

import pytest

from detectron_operator.settings import Settings, parse


def test_defaults() -> None:
    assert parse(["--trainer-image=t:1"], {}) == Settings(trainer_image="t:1")


def test_flags_go_before_the_environment() -> None:
    environ = {"DETECTRON_OPERATOR_TRAINER_IMAGE": "env:1", "DETECTRON_OPERATOR_WORKERS": "4"}
    assert parse(["--trainer-image=flag:1"], environ) == Settings(trainer_image="flag:1", workers=4)
    assert parse([], environ) == Settings(trainer_image="env:1", workers=4)


def test_namespaces_are_a_list() -> None:
    chosen = parse(["--trainer-image=t", "--namespaces=a, b,"], {})
    assert chosen.namespaces == ("a", "b")
    assert parse(["--trainer-image=t", "--namespaces="], {}).namespaces == ()


def test_a_switch_is_true_or_false() -> None:
    assert parse(["--trainer-image=t", "--annotate-for-prometheus=true"], {}).annotate_for_prometheus is True
    environ = {"DETECTRON_OPERATOR_TRAINER_IMAGE": "t", "DETECTRON_OPERATOR_ANNOTATE_FOR_PROMETHEUS": "false"}
    assert parse([], environ).annotate_for_prometheus is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--trainer-image"),
        (["--trainer-image=t", "--workers=0"], "--workers"),
        (["--trainer-image=t", "--workers=many"], "--workers"),
        (["--trainer-image=t", "--resync-period=0"], "--resync-period"),
        (["--trainer-image=t", "--client-qps=inf"], "--client-qps"),
        (["--trainer-image=t", "--log-format=xml"], "--log-format must be json or plain, not 'xml'"),
        (["--trainer-image=t", "--worker=2"], "--worker"),
        (["--trainer-image=t", "--annotate-for-prometheus=yes"], "--annotate-for-prometheus"),
        (["--trainer-image=t", "--lease=name"], "--lease must be namespace/name, not 'name'"),
        (["--trainer-image=t", "--lease=a/b/c"], "--lease must be namespace/name"),
    ],
)
def test_what_is_wrong_is_refused(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        parse(arguments, {})
    assert refusal.value.code == 2
    assert words in capsys.readouterr().err


def test_a_bad_environment_is_refused() -> None:
    environ = {"DETECTRON_OPERATOR_TRAINER_IMAGE": "t", "DETECTRON_OPERATOR_CLIENT_BURST": "-1"}
    with pytest.raises(SystemExit):
        parse([], environ)
