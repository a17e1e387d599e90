"""DeepSpeed's ZeRO, stages 1 to 3: optimizer state, gradients and (3) weights live in slices over the ranks.

The only file that knows DeepSpeed (0.19.8), which is imported when an engine is made, because that takes seconds.

Two forms of checkpoint.  Where the trainable part is small, or the stage is below 3: tensors.py's, free of world size.
Full fine-tuning under stage 3: every rank writes its own slice in DeepSpeed's form, which is pickle; it is read only
after checkpoint.py has found its hash unchanged and a scan no foreign class in it, and is converted for other ranks.
"""

import contextlib
import io
import logging
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ckd_dist.config import Optim
from ckd_dist.engine.group import device_of, join
from ckd_dist.engine.optim import adamw, parameter_groups
from ckd_dist.engine.tensors import MOMENTS, on_host, read_state, write_state
from ckd_dist.mistakes import raise_fault
from ckd_dist.study import no_op
from ckd_dist.world import World

NATIVE = "native"  # the sub-folder of a checkpoint in DeepSpeed's own form
HARMLESS = {  # all that an honest DeepSpeed file makes beside tensors and plain containers
    "deepspeed.runtime.fp16.loss_scaler.LossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum",
    "deepspeed.utils.tensor_fragment.fragment_address",
}


def full_config(sharding: Mapping[str, Any], *, clip_norm: float, dtype: str) -> dict[str, Any]:
    """Return what DeepSpeed is given: the sharding, and the fields that it wants beside."""
    zero = dict(sharding["zero_optimization"])
    if not torch.cuda.is_available():
        zero["overlap_comm"] = False  # on CPU communication has no stream of its own: overlapping costs a third more
    return {
        **sharding,
        "zero_optimization": zero,
        "train_micro_batch_size_per_gpu": 1,  # not used: a step's micro-batches are set by hand
        "gradient_accumulation_steps": 1,
        "gradient_clipping": clip_norm,
        "bf16": {"enabled": dtype == "bfloat16"},
        "zero_allow_untested_optimizer": True,  # torch's AdamW; DeepSpeed's own would be compiled first
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


@contextlib.contextmanager
def sharded_loading(sharding: Mapping[str, Any], world: World, *, dtype: str) -> Iterator[None]:
    """Let `from_pretrained` slice a model over the ranks while it loads.  Below stage 3 this does nothing.

    Only rank 0 reads the files, and holds all of them in host memory for a moment.
    """
    if sharding["zero_optimization"]["stage"] < 3:
        yield
        return
    _start_deepspeed(world)
    from transformers.integrations import HfDeepSpeedConfig
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    kept_alive = HfDeepSpeedConfig(full_config(sharding, clip_norm=0.0, dtype=dtype))  # transformers holds it weakly
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del kept_alive


class ZeroEngine:
    """See `loop.Engine`.  `dtype` is that of weights and activations; masters and moments are float32.

    `sharding`: what `read_sharding` returned.  `module`: built within `sharded_loading`, or whole on every rank.
    """

    def __init__(
        self,
        module: nn.Module,
        optim: Optim,
        world: World,
        *,
        sharding: Mapping[str, Any],
        dtype: str = "float32",
    ) -> None:
        self.world = world
        self._deepspeed = _start_deepspeed(world)
        self._stage = sharding["zero_optimization"]["stage"]
        groups = parameter_groups(module, optim)
        own = [{key: value for key, value in group.items() if key != "params"} for group in groups]
        is_full = all(parameter.requires_grad for parameter in module.parameters())
        self._is_native = is_full and self._stage == 3
        if self._stage == 3:
            gather_by_block(module)
        with _quiet():
            self._engine, self._optimizer, *_ = self._deepspeed.initialize(
                model=module,
                optimizer=adamw(groups, optim),
                config=full_config(sharding, clip_norm=optim.clip_norm, dtype=dtype),
                dist_init_required=False,
            )
        self._hyper = [{**self._adam.defaults, **group} for group in own]  # of every group, at its peak
        self.device = device_of(world)
        self.module = module
        self._trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}

    def __call__(self, batch) -> Tensor:
        """Return logits_UK in float32, in training mode, with a graph behind them."""
        if not self.module.training:
            self._engine.train()
        return self._engine(batch.input_ids_BL, batch.attention_BL, batch.units_U2).float()

    @torch.no_grad()
    def predict(self, batch) -> Tensor:
        """Return logits_UK in float32, in evaluation mode.  As many calls on every rank, where weights are sliced."""
        if self.module.training:
            self._engine.eval()
        return self._engine(batch.input_ids_BL, batch.attention_BL, batch.units_U2).float()

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`; on the last one, sum over ranks, clip and update."""
        self._engine.set_gradient_accumulation_boundary(last)
        self._engine.backward(loss * self.world.num_ranks, scale_wrt_gas=False)  # it averages over ranks
        self._engine.step()

    def set_learning_rate(self, factor: float) -> None:
        """Set every group's rate to `factor` times its peak, from the next update on."""
        for group, own in zip(self._adam.param_groups, self._hyper, strict=True):
            group["lr"] = own["lr"] * factor

    @property
    def learning_rate(self) -> float:
        """Return the rate of the first group, the backbone's."""
        return self._adam.param_groups[0]["lr"]

    def gradient_norm(self) -> float | None:
        """Return the norm before clipping, of the last update."""
        norm = self._engine.get_global_grad_norm()
        return None if norm is None else float(norm)

    def gathered(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager:
        """Make the parameters whole on every rank, to read, within a `with`.  A collective."""
        return self._deepspeed.zero.GatheredParameters(list(parameters)) if self._stage == 3 else nullcontext()

    def full_weights(self) -> dict[str, Tensor]:
        """Return the module's whole state dict on the leader's CPU, {} elsewhere.  A collective, one by one."""
        weights: dict[str, Tensor] = {}
        whole: dict[int, Tensor] = {}  # tied parameters are gathered once and stay tied
        for name, parameter in self.module.named_parameters(remove_duplicate=False):
            if id(parameter) not in whole:
                with self.gathered([parameter]):
                    whole[id(parameter)] = parameter.detach().cpu().clone() if self.world.is_leader else parameter
            weights[name] = whole[id(parameter)]
        kept = self.module.state_dict(keep_vars=True).keys()
        weights |= {name: b.detach().cpu() for name, b in self.module.named_buffers() if name in kept}
        return weights if self.world.is_leader else {}

    def close(self) -> None:
        """Give up buckets, which would outlive the engine: DeepSpeed's hooks hold it to the end of the process."""
        self._engine.destroy()

    # --- checkpoints ---

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Copy all that `load` needs to the leader's host, and return what writes it into `folder`.  A collective.

        DeepSpeed's own form is written here and now: it cannot be parted.
        """
        if self._is_native:
            self._save_native(folder)
            return no_op
        self._link_moments()
        state = {}
        for name, parameter in self._trainable.items():
            parts = {"weight": self._full(parameter, None)} | {key: self._full(parameter, key) for key in MOMENTS}
            if self.world.is_leader:
                state[name] = {part: on_host(tensor) for part, tensor in parts.items()}
        return partial(write_state, folder, state, self._num_updates()) if self.world.is_leader else no_op

    def load(self, folder: Path) -> None:
        """Go on from what was saved, at any number of ranks.  A collective."""
        if self._is_native:
            self._load_native(folder)
        else:
            self._load_tensors(folder)
        for group, own in zip(self._adam.param_groups, self._hyper, strict=True):
            group.update(own)  # a conversion gives all groups the first one's

    @property
    def _adam(self) -> torch.optim.AdamW:
        return self._optimizer.optimizer

    @property
    def _flat_masters(self) -> list[Tensor]:
        """This rank's slices of the float32 weights, one flat tensor a group; the inner optimizer's parameters."""
        for name in ("fp32_partitioned_groups_flat", "single_partition_of_fp32_groups", "fp32_groups_flat_partition"):
            if hasattr(self._optimizer, name):
                return getattr(self._optimizer, name)
        raise AssertionError(f"{type(self._optimizer).__name__} keeps its masters elsewhere")

    def _num_updates(self) -> int:
        return max((int(state["step"]) for state in self._adam.state.values() if "step" in state), default=0)

    def _full(self, parameter: nn.Parameter, moment: str | None) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        return safe_get_full_optimizer_state(parameter, moment) if moment else safe_get_full_fp32_param(parameter)

    def _load_tensors(self, folder: Path) -> None:
        """Slices of masters and moments from whole tensors, then the working copies from the masters."""
        shapes = {name: getattr(p, "ds_shape", p.shape) for name, p in self._trainable.items()}
        num_updates, saved = read_state(folder, shapes)
        for flat in self._flat_masters:  # moments exist only after a first update: make them
            state = self._adam.state[flat]
            for key in MOMENTS:
                state.setdefault(key, torch.zeros_like(flat))
            state["step"] = torch.tensor(float(num_updates), device=flat.device)
        place = self._place_slice if self._stage == 3 else self._place_fragment
        if self._stage == 3:
            self._optimizer.checkpoint_event_prologue()  # nothing stays gathered meanwhile
        self._link_moments()
        for name, parameter in self._trainable.items():
            for part in ("weight", *MOMENTS):
                place(parameter, saved.get(name, part), None if part == "weight" else part)
        if self._stage == 3:
            self._optimizer.checkpoint_event_epilogue()
        else:
            self._optimizer.update_lp_params()

    def _link_moments(self) -> None:
        """Stages 1 and 2: DeepSpeed links all groups' moments after the first group's update, too early for others."""
        if self._stage < 3:
            self._optimizer._hp_optimizer_states_linked = False
            self._optimizer._lazy_init_hp_params_optimizer_state()

    def _place_slice(self, parameter: nn.Parameter, value: Tensor, moment: str | None) -> None:
        """Stage 3: this rank's equal share; the last is padded (DeepSpeed's own `safe_set_full_*` does not)."""
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        share = parameter.ds_tensor.numel()
        padded = nn.functional.pad(value.flatten(), (0, share * self.world.num_ranks - value.numel()))
        mine = padded[share * self.world.rank : share * (self.world.rank + 1)]
        if moment:
            safe_set_local_optimizer_state(parameter, mine, moment)
        else:
            safe_set_local_fp32_param(parameter, mine)
            parameter.ds_tensor.data.copy_(mine)

    def _place_fragment(self, parameter: nn.Parameter, value: Tensor, moment: str | None) -> None:
        """Stages 1 and 2: the part of it that this rank's flat slice holds, maybe none."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        if moment:
            safe_set_full_optimizer_state(parameter, value, moment)
        else:
            safe_set_full_fp32_param(parameter, value)

    def _save_native(self, folder: Path) -> None:
        self._engine.save_checkpoint(str(folder), tag=NATIVE, save_latest=False)
        if self.world.is_leader:
            for script in folder.glob("*.py"):  # a checkpoint holds no code; conversion uses the installed module
                script.unlink()

    def _load_native(self, folder: Path) -> None:
        refuse_foreign_classes(folder / NATIVE)
        num_ranks = len(list((folder / NATIVE).glob("*_optim_states.pt")))
        if num_ranks == self.world.num_ranks:
            self._load_deepspeed(folder, NATIVE, universal=False)
            return
        with _converted(folder, self.world) as universal:
            self._load_deepspeed(universal.parent, universal.name, universal=True)
        for state in self._adam.state.values():  # a conversion gives all groups one and the same counter
            state["step"] = state["step"].clone()

    def _load_deepspeed(self, folder: Path, tag: str, *, universal: bool) -> None:
        self._engine._config.load_universal_checkpoint = universal
        with _quiet():
            path, _ = self._engine.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise ValueError(f"DeepSpeed found no checkpoint in {folder}")


def gather_by_block(module: nn.Module) -> None:
    """Let a transformer block's weights arrive in one message, not each projection's and each adapter's in its own.

    On CPU this halves the time that stage 3 adds to a step (LoRA on two layers: 37 ms to 15 ms).  DeepSpeed reduces a
    block's gradients once it has that of its input; above frozen embeddings there is none, so it is asked for.
    """
    blocks = {name for part in module.modules() for name in getattr(part, "_no_split_modules", None) or ()}
    for stack in module.modules():
        if isinstance(stack, nn.ModuleList):
            for block in stack:
                if type(block).__name__ in blocks:
                    block._z3_leaf = True  # what deepspeed.utils.set_z3_leaf_modules sets
                    block.register_forward_pre_hook(_ask_for_gradient, with_kwargs=True)


def _ask_for_gradient(block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    hidden_BLD = args[0] if args else kwargs["hidden_states"]
    if torch.is_grad_enabled() and not hidden_BLD.requires_grad:
        hidden_BLD.requires_grad_(True)


def refuse_foreign_classes(folder: Path) -> None:
    """Scan every pickle below `folder` for what it would call, calling nothing.  Raises ValueError at a surprise."""
    for file in sorted(folder.rglob("*.pt")):
        try:
            called = set(torch.serialization.get_unsafe_globals_in_checkpoint(file))
        except Exception as error:
            raise_fault(error, file)
            raise ValueError(f"{file} cannot be scanned and is not loaded: {type(error).__name__}") from None
        if foreign := sorted(called - HARMLESS):
            raise ValueError(f"{file} would call {foreign[0]} when loaded; it is not ours and is not loaded")


@contextlib.contextmanager
def _converted(folder: Path, world: World) -> Iterator[Path]:
    """The checkpoint in DeepSpeed's universal form, for any number of ranks, in a folder that goes away again."""
    universal = folder.parent / f".{folder.name}-for-w{world.num_ranks}" / "universal"
    if world.is_leader:
        shutil.rmtree(universal.parent, ignore_errors=True)
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
        command += ["--input_folder", str(folder / NATIVE), "--output_folder", str(universal)]
        command += ["--num_extract_workers", "1", "--num_merge_workers", "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode < 0:
            raise ChildProcessError(f"the conversion of {folder} was killed by signal {-done.returncode}")
        if done.returncode:
            raise_fault(RuntimeError(done.stderr.strip()), folder)
            raise ValueError(
                f"{folder} could not be converted to {world.num_ranks} ranks: {done.stderr.strip()[-300:]}"
            )
    world.barrier()
    try:
        yield universal
        world.barrier()
    finally:
        if world.is_leader:
            shutil.rmtree(universal.parent, ignore_errors=True)


def _start_deepspeed(world: World):
    """Import DeepSpeed, on the CPU where there is no GPU, in the process group that there is."""
    join(world)
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")  # names that DeepSpeed calls
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))  # read by zero.Init, and not exported to plain python
    import deepspeed

    # On CPU it would compile a library, at every start behind a lock that stays closed for ever after a kill; what
    # the library speeds up is all-reduce in inference, which is not used here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with _quiet():
        deepspeed.init_distributed(torch.distributed.get_backend(), verbose=False)
    return deepspeed


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """DeepSpeed prints; an error still comes as an exception."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
