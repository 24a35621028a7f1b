"""Makes Detectron2 0.6 work with today's Python stack; does nothing to newer sources.

Import this module before anything of Detectron2. Version 0.6 (2021) is what package indexes have; the
upstream repository, which the image installs, needs none of it but `create_ddp_model` on the CPU.
"""

from __future__ import annotations

import warnings

import numpy as np
import PIL.Image

if not hasattr(PIL.Image, "LINEAR"):
    # Pillow 10 removed this name, which is the default argument of a transform.
    PIL.Image.LINEAR = PIL.Image.Resampling.BILINEAR  # type: ignore[attr-defined]
for _name, _type in {"int": int, "float": float, "str": str}.items():
    if _name not in vars(np):
        # NumPy 1.24 removed the aliases; without np.int the class histogram silently vanishes.
        setattr(np, _name, _type)

# comm.gather builds its buffers with a class that warns at each use.
warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
warnings.filterwarnings("ignore", message="The given buffer is not writable", category=UserWarning)
# Keypoints are made from a list of arrays, a few numbers each.
warnings.filterwarnings("ignore", message="Creating a tensor from a list of numpy", category=UserWarning)
# Its anchor generator calls meshgrid without the argument that PyTorch will require one day.
warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release", category=UserWarning)

with warnings.catch_warnings():
    # Its model zoo looks its files up through pkg_resources, which warns of its end.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
    import detectron2.model_zoo

import detectron2.engine  # noqa: E402
import torch.distributed as dist  # noqa: E402
from detectron2.engine import defaults  # noqa: E402
from detectron2.evaluation import coco_evaluation  # noqa: E402
from detectron2.modeling.meta_arch import retinanet  # noqa: E402
from detectron2.utils import comm  # noqa: E402
from pycocotools.cocoeval import COCOeval  # noqa: E402
from torch import nn  # noqa: E402


def create_local_process_group(processes_per_node: int) -> None:
    """`comm.create_local_process_group`, which 0.6 lacks: all ranks call it, once."""
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(processes_per_node)
        return
    for first in range(0, dist.get_world_size(), processes_per_node):
        group = dist.new_group(list(range(first, first + processes_per_node)))
        if first <= dist.get_rank() < first + processes_per_node:
            comm._LOCAL_PROCESS_GROUP = group


def _create_ddp_model(model: nn.Module, **options: object) -> nn.Module:
    """`create_ddp_model`, which names a GPU for each model, also one on the CPU."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    distributed: nn.Module = _original_create_ddp_model(
        model, **{**({"device_ids": None} if on_cpu else {}), **options}
    )
    return distributed


def _trainer_state(trainer: defaults.DefaultTrainer) -> dict[str, object]:
    return {**super(defaults.DefaultTrainer, trainer).state_dict(), "_trainer": trainer._trainer.state_dict()}


def _load_trainer_state(trainer: defaults.DefaultTrainer, state: dict[str, object]) -> None:
    super(defaults.DefaultTrainer, trainer).load_state_dict(state)
    trainer._trainer.load_state_dict(state["_trainer"])


def has_compiled_operators() -> bool:
    """Whether Detectron2's own C++ operators are there; without them COCO's slower evaluation serves."""
    try:
        from detectron2 import _C
    except ImportError:
        return False
    return hasattr(_C, "COCOevalEvaluateImages")


def _norm_of_any_width(norm: object, out_channels: int) -> object:
    # RetinaNet 0.6 builds a norm of one channel only to see its type, which GroupNorm's 32 groups refuse.
    return _get_norm(norm, 32 if norm == "GN" and out_channels == 1 else out_channels)


if not has_compiled_operators():
    coco_evaluation.COCOeval_opt = COCOeval
_get_norm = retinanet.get_norm
retinanet.get_norm = _norm_of_any_width
_original_create_ddp_model = defaults.create_ddp_model
detectron2.engine.create_ddp_model = defaults.create_ddp_model = _create_ddp_model
if "state_dict" not in vars(defaults.DefaultTrainer):
    # DefaultTrainer 0.6 leaves the optimizer out of its checkpoints.
    defaults.DefaultTrainer.state_dict = _trainer_state
    defaults.DefaultTrainer.load_state_dict = _load_trainer_state
