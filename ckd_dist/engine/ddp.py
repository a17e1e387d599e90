"""Data parallelism with a whole model on every rank: PyTorch's DDP, or the plain module where there is one rank.

DDP averages gradients and exchanges them in every backward pass.  Here they are summed, and only in the last backward
pass of a step, by a communication hook: it is handed each bucket, and does nothing until the last pass.
"""

import warnings
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ckd_dist.config import Optim
from ckd_dist.engine.group import device_of, join
from ckd_dist.engine.optim import adamw, parameter_groups
from ckd_dist.engine.tensors import MOMENTS, on_host, read_state, write_state
from ckd_dist.study import no_op
from ckd_dist.world import World


class DdpEngine:
    """See `loop.Engine`.  `dtype` is that of activations; weights and moments keep the module's own (float32).

    device: of a world of one, which may have been given no GPU on a machine that has some; none: the GPU where one is.
    """

    def __init__(
        self,
        module: nn.Module,
        optim: Optim,
        world: World,
        *,
        dtype: str = "float32",
        device: str | None = None,
    ) -> None:
        self.world = world
        alone = torch.device(device) if device else device_of(world)
        self.device = join(world) if world.num_ranks > 1 else alone
        self.module = module.to(self.device)
        self.clip_norm = optim.clip_norm
        self.optimizer = adamw(parameter_groups(module, optim), optim)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self._trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._precision = torch.autocast(self.device.type, torch.bfloat16, enabled=dtype == "bfloat16")
        self._norm: Tensor | None = None
        self._last = True
        self._wrapped = module
        if world.num_ranks > 1:
            with warnings.catch_warnings():  # torch 2.13 would rather call it forward_sync_buffers, 2.11 has only this
                warnings.simplefilter("ignore", FutureWarning)
                self._wrapped = DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
            self._wrapped.register_comm_hook(self, _sum_on_last)

    def __call__(self, batch) -> Tensor:
        """Return logits_UK in float32, in training mode, with a graph behind them."""
        if not self.module.training:
            self.module.train()
        with self._precision:
            logits_UK = self._wrapped(batch.input_ids_BL, batch.attention_BL, batch.units_U2)
        return logits_UK.float()

    @torch.no_grad()
    def predict(self, batch) -> Tensor:
        """Return logits_UK in float32, in evaluation mode; no rank waits for another."""
        if self.module.training:
            self.module.eval()
        with self._precision:
            logits_UK = self.module(batch.input_ids_BL, batch.attention_BL, batch.units_U2)
        return logits_UK.float()

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradient of `loss`; on the last one, sum over ranks, clip and update."""
        self._last = last
        loss.backward()
        if last:
            if self.clip_norm:
                self._norm = nn.utils.clip_grad_norm_(self._trainable.values(), self.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def set_learning_rate(self, factor: float) -> None:
        """Set every group's rate to `factor` times its peak, from the next update on."""
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * factor

    @property
    def learning_rate(self) -> float:
        """Return the rate of the first group, the backbone's."""
        return self.optimizer.param_groups[0]["lr"]

    def gradient_norm(self) -> float | None:
        """Return the norm before clipping, of the last update; None where nothing is clipped."""
        return None if self._norm is None else float(self._norm)

    def gathered(self, parameters: Iterable[nn.Parameter]) -> AbstractContextManager:
        """Do nothing: the parameters are whole already."""
        return nullcontext()

    def full_weights(self) -> dict[str, Tensor]:
        """Return the module's state dict on the leader's CPU; nothing elsewhere."""
        if not self.world.is_leader:
            return {}
        return {name: tensor.detach().cpu() for name, tensor in self.module.state_dict().items()}

    def begin_save(self, folder: Path) -> Callable[[], None]:
        """Copy weights, moments and update count of the trainable part, on the leader; return what writes them."""
        if not self.world.is_leader:
            return no_op
        return partial(write_state, folder, self._state(), self._num_updates())

    def load(self, folder: Path) -> None:
        """Go on from what was saved, on any number of ranks, under either engine."""
        shapes = {name: p.shape for name, p in self._trainable.items()}
        num_updates, state = read_state(folder, shapes)
        for name, parameter in self._trainable.items():
            with torch.no_grad():
                parameter.copy_(state.get(name, "weight"))
            moments = {key: state.get(name, key).to(parameter) for key in MOMENTS}
            step = torch.tensor(float(num_updates), device=self.device)
            self.optimizer.state[parameter] = {"step": step, **moments}
        self.optimizer.zero_grad(set_to_none=True)

    def _state(self) -> dict[str, dict[str, Tensor]]:
        """A copy on the host."""
        states = self.optimizer.state
        return {
            name: {
                "weight": on_host(p),
                **{key: on_host(states[p][key] if states[p] else torch.zeros_like(p)) for key in MOMENTS},
            }
            for name, p in self._trainable.items()
        }

    def _num_updates(self) -> int:
        return max((int(state["step"]) for state in self.optimizer.state.values() if state), default=0)


def _sum_on_last(engine: DdpEngine, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DDP's hook, called while the backward pass still runs: a sum over ranks (no average), or nothing yet."""
    if engine._last:
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda sums: sums.value()[0])
    kept: torch.futures.Future[Tensor] = torch.futures.Future()
    kept.set_result(bucket.buffer())
    return kept
