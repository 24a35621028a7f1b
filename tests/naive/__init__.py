"""Proof that each trap of docs/detectron2-traps.md has a test that fails with the naive code."""
