"""A Mask R-CNN for the scenes of examples/digits as a lazy config, made of Detectron2's own parts."""

from detectron2.config import LazyCall as L
from detectron2.data.transforms import ResizeShortestEdge
from detectron2.layers import ShapeSpec
from detectron2.model_zoo import get_config
from detectron2.modeling.backbone import BasicStem, ResNet
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import CosineParamScheduler

model = get_config("common/models/mask_rcnn_fpn.py").model
model.backbone.bottom_up = L(ResNet)(
    stem=L(BasicStem)(in_channels=3, out_channels=64, norm="BN"),
    stages=L(ResNet.make_default_stages)(depth=18, norm="BN"),
    out_features=["res2", "res3", "res4", "res5"],
)
model.proposal_generator.batch_size_per_image = 64
model.proposal_generator.pre_nms_topk = (200, 60)
model.proposal_generator.post_nms_topk = (60, 30)
model.roi_heads.num_classes = 10
model.roi_heads.batch_size_per_image = 32
model.roi_heads.box_head.fc_dims = [128]
model.roi_heads.box_predictor.input_shape = ShapeSpec(channels=128)
model.roi_heads.mask_head.conv_dims = [64, 64]

optimizer = get_config("common/optim.py").SGD
optimizer.lr = 0.01

lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(CosineParamScheduler)(start_value=1.0, end_value=0.01), warmup_length=0.1, warmup_factor=0.01
)

dataloader = get_config("common/data/coco.py").dataloader
dataloader.train.mapper.augmentations = [L(ResizeShortestEdge)(short_edge_length=128, max_size=128)]
dataloader.test.mapper.augmentations = [L(ResizeShortestEdge)(short_edge_length=128, max_size=128)]
dataloader.train.total_batch_size = 4
dataloader.train.num_workers = dataloader.test.num_workers = 0

train = get_config("common/train.py").train
train.max_iter = 200
train.eval_period = 100
train.checkpointer.period = 50
train.seed = 1
