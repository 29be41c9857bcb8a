"""Wrong input of every kind ends in one message that begins with key and value, with status 2 and no stack trace."""

from __future__ import annotations

import shlex

import pytest
from tests.conftest import thinned

# Arguments of `src/train.py` (or of another command: `plot ...`), and what the message begins with.
TABLE = {
    "runner and seed": """
        runner.threads=0  ->  runner.threads=0
        'seed=${nope}'  ->  seed=${nope}
        'seed=${seed}'  ->  seed=${seed}
        'seed=${nope:3}'  ->  seed=${nope:3}
        runner=5  ->  runner=5
        runner.max_epochs=null  ->  runner.max_epochs=null
        runner.max_iters=0  ->  runner.max_iters=0
        runner.max_epochs=true  ->  runner.max_epochs=true
        runner.precision=null  ->  runner.precision=null
        runner.channels_last=1  ->  runner.channels_last=1
        runner.workflow=[]  ->  runner.workflow=[]
        'runner.workflow=[[val,1]]'  ->  runner.workflow=[[val, 1]]
        'runner.workflow=[[train,x]]'  ->  runner.workflow=[[train, x]]
        runner.device=[cpu]  ->  runner.device=[cpu]
        seed=1.5  ->  seed=1.5
        seed=true  ->  seed=true
        'seed=[1]'  ->  seed=[1]
        auto_scale_lr.base_batch_size=0  ->  auto_scale_lr.base_batch_size=0
        auto_scale_lr.rule=cubic  ->  auto_scale_lr.rule=cubic
        +auto_scale_lr.nope=3  ->  auto_scale_lr.nope
        runner=null  ->  runner=null
        auto_scale_lr=5  ->  auto_scale_lr=5
        runner.device=cpu:  ->  runner.device=cpu:
        seed=99999999999999999999  ->  seed=99999999999999999999
        runner.compile=maybe  ->  runner.compile=maybe
        runner.compile=[true]  ->  runner.compile=[true]
        runner.deterministic=1  ->  runner.deterministic=1
        runner.tf32=high  ->  runner.tf32=high
        runner.cudnn_benchmark=yes  ->  runner.cudnn_benchmark=yes
        runner.deterministic=true runner.cudnn_benchmark=true  ->  runner.cudnn_benchmark=true: must be auto or false
        +runner.seed=3  ->  runner.seed
        runner.max_iters=99999999999999999999999  ->  runner.max_iters=99999999999999999999999: must be an integer
        runner.max_epochs=99999999999999999999999  ->  runner.max_epochs=99999999999999999999999: must be an integer
        'runner.workflow=[[train,1],[val,1000000000]]'  ->  runner.workflow=
        'runner.workflow=[[train,99999999999999999999]]'  ->  runner.workflow=
        +runner.work_dir=x  ->  runner.work_dir
    """,
    "data": """
        'data.transforms=[1]'  ->  data.transforms=[1]
        data.batch_size=4  ->  data.batch_size=4
        data.batch_size=1  ->  data.batch_size=1
        +data._partial_=true  ->  data._partial_=true
        data.batch_size=true  ->  data.batch_size=true
        data.val_batch_size=0  ->  data.val_batch_size=0
        data.drop_last=1  ->  data.drop_last=1
        data.drop_last=true data.batch_size=5000  ->  data.batch_size=5000
        data.transforms=5  ->  data.transforms=5
        data.train_transforms=x  ->  data.train_transforms=x
        data.transforms.resize.size=0  ->  data.transforms.resize.size=0
        data.transforms.resize.size=1.5  ->  data.transforms.resize.size=1.5
        data.transforms.resize.size=9999999999999999999  ->  data.transforms.resize.size=9999999999999999999: must be
        data.transforms=off  ->  data.transforms=off: must be a mapping, in which
        data.train_transforms.crop.padding=0  ->  data.train_transforms.crop.padding=0
        data.train_transforms.crop=5  ->  data.train_transforms.crop=5
        data=fashion_mnist data.download=maybe  ->  data.download=maybe
        data=fashion_mnist data.root=5  ->  data.root=5
        mix=mixup mix.mixup=-1  ->  mix.mixup=-1
        mix=mixup mix.p=2  ->  mix.p=2
        mix=both mix.cutmix_share=1  ->  mix.cutmix_share=1
        mix=both mix.mixup=0 mix.cutmix=0  ->  mix.mixup=0
        +data.transforms.r=5  ->  data.transforms.r=5
        data=image_folder  ->  data.root: is missing
        data=image_folder data.root=/no/where  ->  data.root=/no/where: there is no such folder
        data=image_folder data.root=. data.val_fraction=1  ->  data.val_fraction=1
        data=image_folder data.root=. data.split_seed=x  ->  data.split_seed=x
        data=image_folder data.root=. data.channels=2  ->  data.channels=2
        data=image_folder data.root=5  ->  data.root=5
        data=image_list  ->  data.train: is missing
        data=image_list data.train=nowhere.txt  ->  data.train=nowhere.txt: cannot be read
        data=imagenet  ->  data.root: is missing
        data=tar data.root=.  ->  data.train=train*.tar: there is no such file
        data=tar data.root=. data.train=null  ->  data.train=null
        data=arrays  ->  data.train: is missing
        data=arrays data.layout=HWC  ->  data.layout=HWC
        data=hf  ->  data.name: is missing
        data=torchvision  ->  data.name=null
        data=torchvision data.name=cifar11  ->  data.name=cifar11
        data=cifar10 data.root=/no/where  ->  data.root=/no/where: cifar10 is not there
        data=cifar10 data.download=1  ->  data.download=1
        +data.seed=3  ->  data.seed=3
        'data.train_transforms=[1]'  ->  data.train_transforms=[1]: must be a mapping
        data.samples_per_epoch=100000000000000  ->  data.samples_per_epoch=100000000000000: must be an integer > 0 and
        'data.sampler=[1e308,1e308,0,0,0,0,0,0,0,0]'  ->  data.sampler=[1e+308, 1e+308
        data.cache=png  ->  data.cache=png
        data.cache=true  ->  data.cache=true
        data.in_memory=maybe  ->  data.in_memory=maybe
        data.in_memory=false data.workers=-1  ->  data.workers=-1
        data.in_memory=false data.workers=many  ->  data.workers=many
        data.workers=x  ->  data.workers=x
        data.in_memory=false data.worker_type=fork  ->  data.worker_type=fork
        data.in_memory=false data.on_error=ignore  ->  data.on_error=ignore
        data.on_error=ignore  ->  data.on_error=ignore
        data.worker_type=fork  ->  data.worker_type=fork
        data.subset=0  ->  data.subset=0
        data.subset=all  ->  data.subset=all
        data.subset_seed=-1  ->  data.subset_seed=-1
        data.repeats=0  ->  data.repeats=0
        data.samples_per_epoch=0  ->  data.samples_per_epoch=0
        data.sampler=nope  ->  data.sampler=nope
        'data.sampler=[1,2]'  ->  data.sampler=[1, 2]
        'data.sampler={cat:2}'  ->  data.sampler={cat: 2}
        'data.sampler=[0,0,0,0,0,0,0,0,0,0]'  ->  data.sampler
        data.drop_last=true data.subset=0.01  ->  data.batch_size=64
        mix=both +mix.num_classes=3  ->  mix.num_classes=3
        +mix.mixup=0.3  ->  mix.mixup=0.3
    """,
    "the form of the command line": """
        'seed = 3'  ->  seed = 3
        -m 'seed=range(0,0)'  ->  seed=range(0,0)
        -m 'optimizer=glob(zz*)'  ->  optimizer=glob(zz*)
        =5  ->  =5
        ==  ->  ='='
        '+'  ->  +
        'seed="a'  ->  seed="a
        hydra.nope=3  ->  hydra.nope
        hydra/launcher=nope  ->  hydra/launcher=nope
        experiment=nope  ->  experiment=nope
        +sed=1  ->  sed
        +experiment=fashion_mnist  ->  +experiment=fashion_mnist
        --cfg nope  ->  argument --cfg/-c: invalid choice: 'nope'
        --info nope  ->  argument --info/-i: invalid choice: 'nope'
        -x  ->  unrecognized arguments: -x; --help
        --cfg job --package nope.x  ->  --package=nope.x
        --config-dir /nowhere  ->  --config-dir=/nowhere: there is no such folder
        'optimizer.lr=${data.batch_size'  ->  optimizer.lr=${data.batch_size: no viable
        hydra.job.chdir=maybe  ->  hydra.job.chdir=maybe: Value 'maybe' is not a valid bool
        hydra.sweeper=nope  ->  hydra.sweeper=nope: must be hydra/sweeper=NAME
        hydra.launcher=nope  ->  hydra.launcher=nope: must be hydra/launcher=NAME
        -m 'seed=range(0,1,0)'  ->  seed=range(0,1,0): range() arg 3 must not be zero
        -m 'seed=range(5,1)'  ->  seed=range(5,1): has no values
        hydra.output_subdir=/x/y  ->  hydra.output_subdir=/x/y: must be the name of a folder inside
        'hydra.run.dir=[a]'  ->  hydra.run.dir=[a]: must be the path of a folder
        "hydra.run.dir=''"  ->  hydra.run.dir='': must be the path of a folder
        -m "hydra.sweep.dir=''"  ->  hydra.sweep.dir='': must be the path of a folder
    """,
    "optimizer, parameter groups and update": """
        optimizer..lr=5  ->  optimizer..lr=5
        'optimizer.lr=[1'  ->  optimizer.lr=[1
        optimizer.lr=-1  ->  optimizer.lr=-1
        optimizer.momentum=-1  ->  optimizer.momentum=-1
        +optimizer._partial_=true  ->  optimizer._partial_=true
        update.grad_clip.max_norm=x  ->  update.grad_clip.max_norm=x
        optimizer=mars optimizer.mars_type=nope  ->  optimizer
        optimizer=muon optimizer.adjust_lr_fn=nope  ->  optimizer
        optimizer=muon optimizer.ns_coefficients=nope  ->  optimizer.ns_coefficients=nope: Muon cannot
        'optimizer.momentum=${.lr}${.lr}'  ->  optimizer.momentum=0.10.1: must be a number
        optimizer.lr=[true]  ->  optimizer.lr=[true]: must be a number
        optimizer=adam optimizer.betas=5  ->  optimizer.betas=5: must be a list of 2 numbers
        +optimizer._convert_=nope  ->  optimizer._convert_=nope
        optimizer.lr=true  ->  optimizer.lr=true
        +optimizer._args_=5  ->  optimizer._args_=5
        +optimizer._partial_=maybe  ->  optimizer._partial_=maybe
        optimizer.lr=null  ->  optimizer.lr=null
        optimizer=adam 'optimizer.betas=[0.9]'  ->  optimizer.betas=[0.9]
        optimizer=adam 'optimizer.betas=[0.9,x]'  ->  optimizer.betas=[0.9, x]
        optimizer=adam 'optimizer.betas=[true,0.9]'  ->  optimizer.betas=[true, 0.9]
        optimizer=custom  ->  optimizer._target_=???
        param_groups=paramwise +param_groups.nope=1  ->  param_groups.nope=1
        param_groups=paramwise param_groups.bias_lr_mult=x  ->  param_groups.bias_lr_mult=x
        param_groups=layer_decay param_groups.decay=0  ->  param_groups.decay
        param_groups=layer_decay param_groups.decay=x  ->  param_groups.decay
        param_groups=5  ->  param_groups=5
        update.grad_clip=5  ->  update.grad_clip=5
        update.grad_clip.max_norm=0  ->  update.grad_clip.max_norm=0
        update.grad_clip.agc=-1  ->  update.grad_clip.agc=-1
        update.grad_clip.norm_type=-1  ->  update.grad_clip.norm_type=-1
        update.micro_batches=1.5  ->  update.micro_batches=1.5
        +update.forward=3  ->  update.forward=3
        optimizer.lr=0.1,  ->  optimizer.lr=0.1,
        optimizer.lr  ->  optimizer.lr
        'optimizer={lr: 3}'  ->  optimizer={lr
        optimizer=null  ->  optimizer=null
        optimizer=[1,2]  ->  optimizer=[1,2]
        optimizer.lr=0,1  ->  optimizer.lr=0,1
        +optimizer=adam  ->  +optimizer=adam
        optimizer=adopt optimizer.clip_exp=-1  ->  optimizer.clip_exp=-1
        optimizer=adopt optimizer.clip_exp=2  ->  optimizer.clip_exp=2
        optimizer=rprop 'optimizer.step_sizes=[50,1e-6]'  ->  optimizer.step_sizes=[50, 1e-06]
        optimizer=rprop 'optimizer.etas=[1.2,0.5]'  ->  optimizer.etas=[1.2, 0.5]
        optimizer=rmsprop optimizer.alpha=1  ->  optimizer.alpha=1
        optimizer=rmsprop_tf optimizer.alpha=1  ->  optimizer.alpha=1
        optimizer=adam optimizer.eps=0  ->  optimizer.eps=0
        optimizer=laprop optimizer.eps=0  ->  optimizer.eps=0
        optimizer=madgrad optimizer.eps=0  ->  optimizer.eps=0
        optimizer=adafactor 'optimizer.eps=[0,0.001]'  ->  optimizer.eps=0
        optimizer=adafactor optimizer.d=0.5  ->  optimizer.d=0.5
        optimizer=muon optimizer.ns_steps=1000  ->  optimizer.ns_steps=1000
        optimizer=muon 'optimizer.ns_coefficients=[nan,1,2]'  ->  optimizer.ns_coefficients=nan
        update.grad_clip.norm_type=1  ->  update.grad_clip.norm_type=1
    """,
    "evaluation, checkpoint, logger and hooks": """
        +hooks.text._partial_=true  ->  hooks.text._partial_=true
        evaluation.monitor=VAL/TOP1  ->  evaluation.monitor=VAL/TOP1: must be one of train/loss, val/loss
        evaluation.monitor=foo  ->  evaluation.monitor=foo: must be one of train/loss, val/loss
        'evaluation.monitor=""'  ->  evaluation.monitor='': must be one of train/loss, val/loss
        evaluation.monitor=lr  ->  evaluation.mode=null
        evaluation.monitor=val/los  ->  evaluation.monitor=val/los
        evaluation.monitor=val_ema/top1  ->  evaluation.monitor=val_ema/top1
        evaluation.monitor=val/loss2  ->  evaluation.monitor=val/loss2
        evaluation.monitor=train/lossy evaluation.mode=min  ->  evaluation.monitor=train/lossy
        evaluation=none evaluation.monitor=val/top1  ->  evaluation.monitor=val/top1
        hooks.schedule=null  ->  hooks.schedule=null
        evaluation.interval=true  ->  evaluation.interval=true
        evaluation.start=-1  ->  evaluation.start=-1
        evaluation.by_epoch=1  ->  evaluation.by_epoch=1
        evaluation.monitor=5  ->  evaluation.monitor=5
        'evaluation.monitor=[val/top1]'  ->  evaluation.monitor=[val/top1]
        evaluation.mode=5  ->  evaluation.mode=5
        evaluation.metrics=5  ->  evaluation.metrics=5
        evaluation.metrics.top1=5  ->  evaluation.metrics.top1=5
        evaluation.metrics.top1.k=true  ->  evaluation.metrics.top1.k=true
        evaluation.metrics.top1.k=11  ->  evaluation.monitor=val/top1
        +evaluation.nope=3  ->  evaluation.nope
        +evaluation.metrics.x.k=3  ->  evaluation.metrics.x._target_=null
        checkpoint.interval=-1  ->  checkpoint.interval=-1
        checkpoint.by_epoch=1  ->  checkpoint.by_epoch=1
        checkpoint.max_keep_ckpts=0  ->  checkpoint.max_keep_ckpts=0
        checkpoint.every_seconds=-1  ->  checkpoint.every_seconds=-1
        checkpoint.priority=FIRST  ->  checkpoint.priority=FIRST
        checkpoint.save_last=7  ->  checkpoint.save_last=7
        +checkpoint.nope=3  ->  checkpoint.nope=3
        logger.interval=true  ->  logger.interval=true
        logger.csv=5  ->  logger.csv=5
        +logger.x=null +logger.y=5  ->  logger.y=5
        hooks.text=5  ->  hooks.text=5
        hooks.text.interval=x  ->  hooks.text.interval=x
        hooks.text.refresh=0  ->  hooks.text.refresh=0
        hooks.text.priority=101  ->  hooks.text.priority=101
        +hooks.text.nope=1  ->  hooks.text.nope=1
        hooks.nonfinite_loss.action=explode  ->  hooks.nonfinite_loss.action=explode
        hooks.nonfinite_loss.factor=1  ->  hooks.nonfinite_loss.factor=1
        hooks=ema hooks.ema.decay=1  ->  hooks.ema.decay=1
        hooks=ema hooks.ema.interval=0  ->  hooks.ema.interval=0
        logger=5  ->  logger=5
        logger=[csv,tensorboard,csv]  ->  logger=[csv,tensorboard,csv]: must have csv once
        hooks=[ema,ema]  ->  hooks=[ema,ema]: must have ema once
        evaluation.monitor=train/los  ->  evaluation.monitor=train/los
        '+hooks.e={_target_:hookline.hooks.early_stopping.EarlyStoppingHook,monitor:val/acc}'  ->  hooks.e.monitor
        +hooks.more._target_=hookline.hooks.train_metrics.TrainMetricsHook  ->  hooks.more: sums up what
        hooks.nonfinite_loss.action=rollback checkpoint=none  ->  hooks.nonfinite_loss.action=rollback
        hooks.nonfinite_loss.action=rollback checkpoint.save_optimizer=false  ->  hooks.nonfinite_loss.action=rollback
        hooks.text=off  ->  hooks.text=off
        +hooks.x=5  ->  hooks.x=5
        hooks.optimizer=null  ->  hooks.optimizer=null
    """,
    "model, loss and freeze": """
        freeze.patterns=conv1  ->  freeze.patterns=conv1: must be a list of texts
        model.num_classes=ten  ->  model.num_classes=ten
        +model.checkpoint_path=5  ->  model.checkpoint_path=5
        loss=bce loss.smoothing=1.5  ->  loss.smoothing=1.5: must be a number
        freeze.epochs=2  ->  freeze.epochs=2
        +model._partial_=true  ->  model._partial_=true
        mix=both loss=focal loss.gamma=-1  ->  loss.gamma=-1
        loss.label_smoothing=1  ->  loss.label_smoothing=1
        loss.weight=heavy  ->  loss.weight=heavy
        'loss.weight=[1,2]'  ->  loss.weight=[1,2]: CrossEntropy cannot be computed
        'loss.weight=[1,-1,1,1,1,1,1,1,1,1]'  ->  loss.weight=-1
        loss=focal loss.gamma=x  ->  loss.gamma=x
        model=vit_tiny model.img_size=64  ->  model.img_size=64: VisionTransformer cannot take
        model=vit_tiny +model.num_heads=0  ->  model.num_heads=0: timm.create_model refused
        +loss.gamma=3 loss=focal  ->  +loss.gamma=3: there is such a key already
        +model.checkpoint_path=https://h/x.pt  ->  model.checkpoint_path=https://h/x.pt: must be the path of a file;
        +model.checkpoint_path=/dev/zero  ->  model.checkpoint_path=/dev/zero: is no regular file
        +model.pretrained_cfg=nope  ->  model
        +model.checkpoint_path=nowhere.pt  ->  model.checkpoint_path=nowhere.pt
        'loss.weight=[0,0,0,0,0,0,0,0,0,0]'  ->  loss: CrossEntropy is nan
        'loss.weight=[1e39,1,1,1,1,1,1,1,1,1]'  ->  loss.weight=1e+39
        loss=bce loss.pos_weight=nan  ->  loss.pos_weight=nan
        loss=bce loss.pos_weight=0  ->  loss.pos_weight=0
        loss=bce 'loss.pos_weight=[1,0]'  ->  loss.pos_weight=0
        loss=bce loss.target_threshold=2  ->  loss.target_threshold=2
        loss=bce loss.target_threshold=-1  ->  loss.target_threshold=-1
        loss=bce loss.target_threshold=nan  ->  loss.target_threshold=nan
        loss=bce loss.smoothing=nan  ->  loss.smoothing=nan
        model=convnext_atto +model.ls_init_value=nan  ->  model: ConvNeXt gives logits that are not finite
        model.checkpoint_weights=ema  ->  model.checkpoint_weights=ema
        freeze.patterns=[nope]  ->  freeze.patterns=nope
        freeze.until=nope  ->  freeze.until=nope
        'freeze.patterns=["*"]'  ->  freeze.patterns=[*]
        freeze=backbone freeze.epochs=0  ->  freeze.epochs=0
        +model.checkpoint_path=/etc  ->  model.checkpoint_path=/etc
    """,
    "augment": """
        augment.size=128  ->  augment.size: there is no such key
        augment=5  ->  augment=5: there is no such option
        augment=imagenet +augment.scale=1  ->  augment.scale: there is no such key
        augment=imagenet augment.train.flip.q=1  ->  augment.train.flip.q: there is no such key
    """,
    "targets": """
        param_groups._target_=torch.nn.ReLU  ->  param_groups
        loss._target_=torch.nn.CrossEntropyLoss +loss.reduction=none  ->  loss
        +hooks.x._target_=shutil.rmtree +hooks.x.path=x  ->  hooks.x._target_=shutil.rmtree
        +logger.x._target_=os.mkdir +logger.x.path=x  ->  logger.x._target_=os.mkdir
        +evaluation.metrics.x._target_=builtins.exec  ->  evaluation.metrics.x._target_=builtins.exec
        checkpoint._target_=os.system  ->  checkpoint._target_=os.system
        mix._target_=os.system  ->  mix._target_=os.system
        mix._target_=torch.nn.Identity  ->  mix._target_=torch.nn.Identity: must name a subclass
        freeze._target_=torch.nn.Identity  ->  freeze._target_=torch.nn.Identity
        update._target_=os.kill  ->  update._target_=os.kill
        model._target_=os.listdir  ->  model._target_=os.listdir
        model._target_=torch.optim.SGD  ->  model._target_=torch.optim.SGD
        optimizer._target_=torch.nn.Linear  ->  optimizer._target_=torch.nn.Linear
        optimizer._target_=torch.optim.adamw.adamw  ->  optimizer._target_=torch.optim.adamw.adamw: must name a subclass
        optimizer._target_=numpy.zeros  ->  optimizer._target_=numpy.zeros: must name a subclass
        optimizer._target_=torch.optim.Optimizer  ->  optimizer._target_=torch.optim.Optimizer: must name a subclass
        lr_schedule._target_=torch.optim.lr_scheduler.StepLR  ->  lr_schedule._target_=torch.optim.lr_scheduler.StepLR
        +momentum_schedule._target_=hookline.hooks.Hook  ->  momentum_schedule._target_=hookline.hooks.Hook
        +weight_decay_schedule._target_=os.system  ->  weight_decay_schedule._target_=os.system
        model._target_=5  ->  model._target_=5
        model._target_=null  ->  model._target_=null
        optimizer._target_=torch..SGD  ->  optimizer._target_=torch..SGD
        data.train_transforms.crop._target_=null  ->  data.train_transforms.crop._target_=null
        optimizer._target_=torch.optim.LBFGS  ->  optimizer._target_=torch.optim.LBFGS
        +foo_schedule._target_=hookline.schedules.Cosine  ->  foo_schedule.min_foo=null
        logger.csv._target_=hookline.hooks.Hook  ->  logger.csv._target_=hookline.hooks.Hook
        +hooks.x._target_=os.system '+hooks.x.command=touch x'  ->  hooks.x._target_=os.system
        +hooks.x._target_=builtins.eval '+hooks.x.source=1'  ->  hooks.x._target_=builtins.eval
        +data.transforms.q._target_=os.popen +data.transforms.q.cmd=ls  ->  data.transforms.q._target_=os.popen
        lr_schedule=torch lr_schedule.scheduler._target_=os.system  ->  lr_schedule.scheduler._target_=os.system
        data._target_=torch.nn.Identity  ->  data._target_=torch.nn.Identity
        model._target_=builtins.dict  ->  model._target_=builtins.dict
        '+hooks.x._target_=datetime.datetime'  ->  hooks.x._target_=datetime.datetime
    """,
    "the other commands": """
        plot preview.text=perhaps  ->  preview.text=perhaps
        plot 'preview.compare=[cosin]'  ->  lr_schedule=cosin: there is no such option. Did you mean 'cosine'
        plot runner.max_epochs=1000000000  ->  runner.max_epochs=1000000000
        find data.batch_size=1  ->  data.batch_size=1
        find find.start_lr=0  ->  find.start_lr=0
        find find.end_lr=1e-9  ->  find.end_lr=1e-09
        find find.iterations=5  ->  find.iterations=5
        find find.iterations=99999999999999999999999  ->  find.iterations=99999999999999999999999
        find find.iterations=99999999999  ->  find.iterations=99999999999
        find find.diverge=1  ->  find.diverge=1
        find +find.nope=3  ->  find.nope
        find find=5  ->  find=5
        plot +preview.nope=3  ->  preview.nope
        plot preview.iters_per_epoch=0  ->  preview.iters_per_epoch=0
        plot preview.base_lr=-1  ->  preview.base_lr=-1
        plot 'preview.base_lr=[]'  ->  preview.base_lr=null
        plot preview.compare=cosine  ->  preview.compare=cosine
        plot 'preview.compare=[null]'  ->  preview.compare=null
        plot 'preview.compare=[[a]]'  ->  preview.compare=[a]
        plot optimizer=null  ->  optimizer=null
        groups param_groups=paramwise param_groups.custom_keys=5  ->  param_groups.custom_keys=5
        find find=null  ->  find=null
        plot optimizer.momentum=x  ->  optimizer.momentum=x
        plot preview=5  ->  preview.iters_per_epoch: there is no such key: preview has none
        plot preview.output_dir=null  ->  preview.output_dir=null: must be the path of a folder
        plot 'preview.output_dir=[a]'  ->  preview.output_dir=[a]: must be the path of a folder
        plot "preview.output_dir=''"  ->  preview.output_dir='': must be the path of a folder
        plot 'preview.compare=[cosine,cosine]'  ->  preview.compare=[cosine, cosine]: names cosine twice
        groups param_groups=layer_decay model._target_=torch.nn.Identity  ->  model: Identity has no parameters
        find find.end_lr=1e300  ->  find.end_lr=1e+300: the loss broke after
    """,
    "schedules": """
        lr_schedule.min_lr=true  ->  lr_schedule.min_lr=true
        lr_schedule.warmup_iters=-1  ->  lr_schedule.warmup_iters=-1
        lr_schedule.warmup=linear lr_schedule.warmup_iters=5ep5  ->  lr_schedule.warmup_iters=5ep5
        lr_schedule.warmup_ratio=true  ->  lr_schedule.warmup_ratio=true
        lr_schedule=step lr_schedule.step=0  ->  lr_schedule.step=0
        +lr_schedule.spellings=3  ->  lr_schedule.spellings=3
        momentum_schedule=step momentum_schedule.gamma=x  ->  momentum_schedule.gamma=x
        optimizer=adagrad momentum_schedule=cosine  ->  momentum_schedule
        weight_decay_schedule=step weight_decay_schedule.step=0  ->  weight_decay_schedule.step=0
        +foo_schedule.step=3  ->  foo_schedule._target_=null
        lr_schedule=plateau lr_schedule.threshold=2  ->  lr_schedule.threshold=2
        lr_schedule=plateau lr_schedule.monitor=val/nope  ->  lr_schedule.monitor=val/nope: must be one of train/loss
        lr_schedule=plateau lr_schedule.monitor=val/loss2  ->  lr_schedule.monitor=val/loss2: must be one of train/loss
        lr_schedule=null  ->  lr_schedule=null
        +foo_schedule=3  ->  foo_schedule=3
        +momentum_schedule.gamma=3  ->  momentum_schedule.gamma=3
    """,
    "removed keys": """
        groups '~model'  ->  model
        '~runner'  ->  runner
        '~data'  ->  data
        '~seed'  ->  seed
        '~runner.max_epochs'  ->  runner.max_epochs
        '~data.batch_size'  ->  data.batch_size
        '~hooks.nope'  ->  ~hooks.nope
        '~nope'  ->  ~nope
        '~hooks.schedule'  ->  hooks.schedule=null
        '~loss'  ->  loss
    """,
}
CASES = [
    pytest.param(*(part.strip() for part in line.split("  ->  ")), id=f"{kind}: {line.split('  ->  ')[0].strip()}")
    for kind, lines in TABLE.items()
    for line in lines.strip().splitlines()
]
TASKS = {
    "train": ("hookline.commands.train:train", "train"),
    "plot": ("hookline.commands.plot_lr:plot_lr", "plot_lr"),
    "find": ("hookline.commands.find_lr:find_lr", "find_lr"),
    "groups": ("hookline.commands.show_param_groups:show_param_groups", "show_param_groups"),
}


def refused(finished, begin: str) -> None:
    assert finished.status == 2, finished.out + finished.err
    assert "Traceback" not in finished.out + finished.err
    assert finished.err.startswith(f"error: {begin}"), finished.err
    assert len(finished.err.strip().splitlines()) == 1, finished.err


@pytest.mark.parametrize(("command", "begin"), thinned(CASES, 6))
def test_message(command, begin, run_task):
    words = shlex.split(command)
    task = words.pop(0) if words[0] in TASKS else "train"
    if task != "plot" and "threads" not in command:
        words.append("runner.threads=1")
    if task == "plot" and not any("iters_per_epoch" in word for word in words):
        words.append("preview.iters_per_epoch=5")
    refused(run_task(*TASKS[task], *words), begin)


BROKEN = {
    "an unclosed list": b"_target_: [torch",
    "a tab": b"_target_: torch.optim.SGD\n\tlr: 0.1\n",
    "a key twice": b"lr: 1\nlr: 2\n",
    "no UTF-8": b"_target_: \xff\xfe\n",
    "a NUL": b'a: "\x00"\n',
    "a Python object": b'lr: !!python/object/apply:os.system ["touch bad"]\n',
    "a number": b"5",
    "defaults that are no list": b"defaults: 5\n",
    "defaults that name nothing": b"defaults:\n  - nope\n",
    "defaults that name themselves": b"defaults:\n  - mine\n",
    "an interpolation of nothing": b"_target_: ${nope}\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_config_file_that_cannot_be_read(what, train, tmp_path):
    file = tmp_path / "own" / "optimizer" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(BROKEN[what])
    finished = train("--config-dir", str(file.parents[1]), "optimizer=mine")
    refused(finished, "")
    assert any(word in finished.err for word in (str(file), "optimizer/mine", "optimizer=mine", "optimizer._target_"))
    assert not (tmp_path / "bad").exists()


def test_a_config_file_that_cannot_be_read_in_a_comparison(run_task, tmp_path):
    file = tmp_path / "own" / "lr_schedule" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("a: [")
    arguments = ["--config-dir", str(file.parents[1]), "preview.compare=[mine]", "preview.iters_per_epoch=5"]
    refused(run_task(*TASKS["plot"], *arguments), "preview.compare: ")


def test_a_folder_that_is_called_like_an_option_is_none(train, tmp_path):
    (tmp_path / "own" / "optimizer" / "x.yaml").mkdir(parents=True)
    refused(train("--config-dir", str(tmp_path / "own"), "optimizer=adam", "seed=-1"), "seed=-1: ")
    refused(train("--config-dir", str(tmp_path / "own"), "optimizer=x"), "optimizer=x: there is no such option")


@pytest.mark.parametrize("name", ["inf", "1", "true"])
def test_an_option_that_is_called_like_a_number(name, train, tmp_path):
    file = tmp_path / "own" / "optimizer" / f"{name}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: torch.optim.SGD\nlr: -7\n")
    refused(train("--config-dir", str(file.parents[1]), f"optimizer={name}"), "optimizer.lr=-7: ")


@pytest.mark.parametrize(("text", "key"), [("seed: 3\n", "experiment.seed=3: "), ("5\n", "")])
def test_a_recipe_that_is_not_of_the_whole_run(text, key, train, tmp_path):
    file = tmp_path / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    finished = train("--config-dir", str(file.parents[1]), "experiment=mine")
    refused(finished, key)
    assert not key or "# @package _global_" in finished.err


def test_the_one_override_of_what_was_refused_is_named_in_each_job(train):
    finished = train("-m", "model=vit_tiny", "+model.num_heads=0,-1", "runner.threads=1")
    assert finished.status == 2
    assert "error in job num_heads=0: model.num_heads=0: timm.create_model" in finished.err
    assert "error in job num_heads=-1: model.num_heads=-1: " in finished.err


def test_of_several_overrides_none_is_blamed(train):
    refused(train("model=vit_tiny", "+model.num_heads=0", "+model.depth=2"), "model: timm.create_model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hydra.run.dir", "file"),
        ("hydra.run.dir", "file/below"),
        ("hydra.run.dir", "long" * 100),
        ("hydra.run.dir", "/proc/nowhere"),
        ("hydra.job.name", "a/b"),
    ],
)
def test_a_place_that_cannot_be_written_to(key, value, train, tmp_path):
    (tmp_path / "file").write_text("")
    refused(train(f"{key}={value}"), f"{key}={value}: ")


def test_a_sweeps_place_that_cannot_be_written_to(train, tmp_path):
    (tmp_path / "file").write_text("")
    refused(train("-m", "hydra.sweep.dir=file", "seed=0,1"), "hydra.sweep.dir=file: ")


def test_a_previews_place_that_cannot_be_written_to(run_task, tmp_path):
    (tmp_path / "file").write_text("")
    finished = run_task(*TASKS["plot"], "preview.output_dir=file/x", "preview.iters_per_epoch=5")
    refused(finished, "preview.output_dir=file/x: ")


@pytest.mark.parametrize("value", ["/tmp/ünï-nowhere", "/tmp/no where", "/tmp/it's-nowhere", "C:\\nowhere", "a=b"])
def test_a_value_that_hydra_would_want_quoted(value, train):
    refused(train("data=fashion_mnist", f"data.root={value}"), f"data.root={value}: there is no such folder")


@pytest.mark.parametrize(
    ("argument", "advice"),
    [
        ("optimizer.lr=0,1", "--multirun"),
        ("+experiment=fashion_mnist", "write experiment=fashion_mnist"),
        ("~loss.weight", "it is null already"),
        ("hooks.schedule=null", "lr_schedule=fixed"),
        ("data.batch_size=4", "data.drop_last=true"),
    ],
)
def test_the_way_out_is_told(argument, advice, train):
    finished = train(argument, "runner.threads=1")
    refused(finished, "")
    assert advice in finished.err


@pytest.mark.parametrize("arguments", [["--resolve"], ["-m", "--cfg", "job"], ["--experimental-rerun", "nothing"]])
def test_hydras_own_flags(arguments, train):
    refused(train(*arguments), "")


@pytest.mark.parametrize(
    ("scheduler", "begin"),
    [
        ("StepLR step_size=0", "lr_schedule.scheduler=StepLR: must be given arguments that fit"),
        ("CosineAnnealingLR T_max=0", "lr_schedule.scheduler=CosineAnnealingLR: must be given arguments that fit"),
        (
            "ExponentialLR gamma=-3",
            "lr_schedule: gives a lr of -0.3 in iteration 24; it must stay finite and at least 0",
        ),
    ],
)
def test_a_library_schedule_that_breaks_after_the_first_epoch(scheduler, begin, train):
    name, argument = scheduler.split()
    node = "lr_schedule.scheduler"
    target = f"{node}._target_=torch.optim.lr_scheduler.{name}"
    refused(train("lr_schedule=torch", target, f"+{node}.{argument}", "runner.max_epochs=2", "runner.threads=1"), begin)


HOOK = "from hookline.hooks import Hook\nclass Mine(Hook):\n"
MODULES = {
    "leaves": "import sys; sys.exit(3)",
    "broken": "def f(: pass",
    "lacking": "import no_such_package",
    "raising": f"{HOOK}    def __init__(self):\n        raise OSError('no')",
    "endless": f"{HOOK}    def __init__(self):\n        self.__init__()",
}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_of_the_users_that_fails(module, train, tmp_path, monkeypatch):
    (tmp_path / f"{module}.py").write_text(MODULES[module])
    monkeypatch.syspath_prepend(tmp_path)
    refused(train(f"+hooks.mine._target_={module}.Mine"), "hooks.mine")


def test_a_failing_job_of_a_sweep_is_told_once(train, tmp_path, monkeypatch):
    (tmp_path / "raising.py").write_text(MODULES["raising"])
    monkeypatch.syspath_prepend(tmp_path)
    finished = train("-m", "seed=-1,0", "+hooks.mine._target_=raising.Mine", "launcher.slots=1")
    assert finished.status == 2
    first, second = finished.err.strip().splitlines()
    assert first.startswith("error in job seed=-1: seed=-1: ")
    assert second.startswith("error in job seed=0: hooks.mine: ")


def test_a_bug_in_a_sweep_keeps_its_trace(train, tmp_path, monkeypatch):
    (tmp_path / "buggy.py").write_text(f"{HOOK}    def before_run(self, runner):\n        runner.nope()\n")
    monkeypatch.syspath_prepend(tmp_path)
    finished = train("-m", "seed=-1,0", "+hooks.mine._target_=buggy.Mine", "launcher.slots=1", "checkpoint=none")
    assert finished.status == 1
    assert finished.err.startswith("error in job seed=-1: seed=-1: ")
    reason, _, log = finished.err.splitlines()[1].partition("; log: ")
    assert reason.startswith("error in job seed=0: 'Runner' object has no attribute 'nope'")
    text = (tmp_path / log).read_text()
    assert text.count("Traceback") == 1
    assert "runner.nope()" in text
    assert "failed in hooks.mine, in before_run" in text


def test_a_bug_in_a_sweep_of_hydras_own_launcher_keeps_its_trace(train, tmp_path, monkeypatch):
    (tmp_path / "buggy.py").write_text(f"{HOOK}    def before_run(self, runner):\n        runner.nope()\n")
    monkeypatch.syspath_prepend(tmp_path)
    hook = ["+hooks.mine._target_=buggy.Mine", "runner.threads=1", "checkpoint=none"]
    finished = train("-m", "hydra/launcher=basic", "seed=-1,0", *hook)
    assert finished.status == 1
    assert finished.err.startswith("error in job 0: seed=-1: ")
    assert finished.err.count("Traceback") == 1
    assert "runner.nope()" in finished.err


@pytest.mark.parametrize("group", ["freeze", "mix", "evaluation", "checkpoint", "logger", "momentum_schedule"])
def test_null_is_the_option_none(group, train):
    assert f"{group}=null" not in train(f"{group}=null", "--cfg", "job").err
    finished = train(f"{group}=null", "seed=-1")
    refused(finished, "seed=-1: ")
    overrides = (finished.run_dir / ".hydra" / "overrides.yaml").read_text()
    assert f"{group}=none" in overrides


def test_null_takes_a_recipe_back(train):
    plain = train("--cfg", "job")
    taken_back = train("experiment=null", "debug=smoke", "debug=null", "sweep=null", "--cfg", "job")
    assert (taken_back.status, taken_back.err) == (0, "")
    assert taken_back.out == plain.out


@pytest.mark.parametrize("removed", ["~param_groups", "~momentum_schedule", "~auto_scale_lr", "~freeze"])
def test_a_preview_without_a_group(removed, run_task):
    finished = run_task(*TASKS["plot"], removed, "preview.iters_per_epoch=5", "preview.text=false")
    assert (finished.status, finished.err) == (0, "")


def test_keys_that_other_values_are_made_of_are_read(train):
    finished = train("+mine=3", "seed=${mine}", "runner.max_epochs=0")
    refused(finished, "runner.max_epochs=0: ")


def test_images_of_two_sizes_are_told(runner, caplog):
    resize = "+data.train_transforms.small._target_=hookline.data.Resize"
    runner(resize, "+data.train_transforms.small.size=16", "data.transforms.resize=null")
    assert "training images are 1x16x16, those of validation 1x8x8" in caplog.text
