"""The operations of `_backend.Ops` with PyTorch."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tree

try:
    import torch
    import torch.nn.functional as F
except ImportError as e:  # pragma: no cover
    raise ImportError('framework "torch" needs PyTorch: pip install "aktis-rllib[torch]"') from e

from aktis.rllib._backend._torch_adam import TorchAdam

Tensor = Any
Axis = int | tuple[int, ...] | None

name = "torch"

_DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
}


# ---- making tensors, and back to NumPy


def is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def from_numpy(x: Any, device: Any = None, dtype: str | None = None) -> Tensor:
    if not isinstance(x, torch.Tensor):
        array = np.asarray(x)
        kind = array.dtype.kind
        if dtype is None:
            if kind == "f" and array.dtype.itemsize != 4:
                array = array.astype(np.float32)
            elif kind in "iu" and array.dtype != np.int64 and array.dtype != np.uint8:
                array = array.astype(np.int64)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"An array of type {array.dtype} does not become a tensor.")
        if not (array.flags.writeable and array.flags.c_contiguous):
            array = array.copy()  # a tensor shares the memory, and must not change a read-only array
        x = torch.from_numpy(array)
    if dtype is not None:
        x = x.to(_DTYPES[dtype])
    return x if device is None or x.device == device else x.to(device, non_blocking=True)


def as_numpy(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return x.detach().cpu().numpy()
    if isinstance(x, dict | tuple | list):
        return tree.map_structure(lambda leaf: as_numpy(leaf) if isinstance(leaf, torch.Tensor) else leaf, x)
    return x


def zeros(shape: Sequence[int], dtype: str = "float32", device: Any = None) -> Tensor:
    return torch.zeros(tuple(shape), dtype=_DTYPES[dtype], device=device)


def ones(shape: Sequence[int], dtype: str = "float32", device: Any = None) -> Tensor:
    return torch.ones(tuple(shape), dtype=_DTYPES[dtype], device=device)


def full(shape: Sequence[int], value: float, dtype: str = "float32", device: Any = None) -> Tensor:
    return torch.full(tuple(shape), value, dtype=_DTYPES[dtype], device=device)


def zeros_like(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def ones_like(x: Tensor) -> Tensor:
    return torch.ones_like(x)


def arange(stop: int, dtype: str = "int64", device: Any = None) -> Tensor:
    return torch.arange(stop, dtype=_DTYPES[dtype], device=device)


def cast(x: Tensor, dtype: str) -> Tensor:
    return torch.as_tensor(x).to(_DTYPES[dtype])


def shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)


def device_of(x: Tensor) -> Any:
    return x.device


# ---- elementwise


def _t(x: Any) -> Tensor:
    return (
        x if isinstance(x, torch.Tensor) else torch.as_tensor(x, dtype=torch.float32 if isinstance(x, float) else None)
    )


def exp(x: Tensor) -> Tensor:
    return torch.exp(_t(x))


def expm1(x: Tensor) -> Tensor:
    return torch.expm1(_t(x))


def log(x: Tensor) -> Tensor:
    return torch.log(_t(x))


def log1p(x: Tensor) -> Tensor:
    return torch.log1p(_t(x))


def sqrt(x: Tensor) -> Tensor:
    return torch.sqrt(_t(x))


def square(x: Tensor) -> Tensor:
    return torch.square(_t(x))


def pow(x: Tensor, exponent: Any) -> Tensor:
    return torch.pow(_t(x), exponent)


def abs(x: Tensor) -> Tensor:
    return torch.abs(_t(x))


def sign(x: Tensor) -> Tensor:
    return torch.sign(x)


def floor(x: Tensor) -> Tensor:
    return torch.floor(x)


def ceil(x: Tensor) -> Tensor:
    return torch.ceil(x)


def sin(x: Tensor) -> Tensor:
    return torch.sin(x)


def cos(x: Tensor) -> Tensor:
    return torch.cos(x)


def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def atanh(x: Tensor) -> Tensor:
    return torch.atanh(x)


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def log_sigmoid(x: Tensor) -> Tensor:
    return F.logsigmoid(x)


def softplus(x: Tensor) -> Tensor:
    return F.softplus(x)


def relu(x: Tensor) -> Tensor:
    return F.relu(x)


def lgamma(x: Tensor) -> Tensor:
    return torch.lgamma(x)


def digamma(x: Tensor) -> Tensor:
    return torch.digamma(x)


def isfinite(x: Tensor) -> Tensor:
    return torch.isfinite(x)


def isnan(x: Tensor) -> Tensor:
    return torch.isnan(x)


def minimum(x: Tensor, y: Any) -> Tensor:
    if not isinstance(y, torch.Tensor):
        return torch.clamp(x, max=y)
    return torch.clamp(y, max=x) if not isinstance(x, torch.Tensor) else torch.minimum(x, y)


def maximum(x: Tensor, y: Any) -> Tensor:
    if not isinstance(y, torch.Tensor):
        return torch.clamp(x, min=y)
    return torch.clamp(y, min=x) if not isinstance(x, torch.Tensor) else torch.maximum(x, y)


def clip(x: Tensor, low: Any, high: Any) -> Tensor:
    if isinstance(low, torch.Tensor) != isinstance(high, torch.Tensor):  # clamp takes two of a kind
        return minimum(maximum(x, low) if low is not None else x, high) if high is not None else maximum(x, low)
    return x if low is None and high is None else torch.clamp(x, low, high)


def where(condition: Tensor, x: Any, y: Any) -> Tensor:
    return torch.where(condition, x, y)


def equal(x: Tensor, y: Any) -> Tensor:
    return torch.eq(x, y)


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_and(x, y)


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    return torch.logical_or(x, y)


def logical_not(x: Tensor) -> Tensor:
    return torch.logical_not(x)


def stop_gradient(x: Tensor) -> Tensor:
    return x.detach()


def no_grad() -> Any:
    return torch.no_grad()


def huber(x: Tensor, delta: float = 1.0) -> Tensor:
    return F.huber_loss(x, torch.zeros_like(x), reduction="none", delta=delta)


# ---- reductions


def sum(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return x.sum() if axis is None and not keepdims else torch.sum(x, dim=_axes(x, axis), keepdim=keepdims)


def mean(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return x.mean() if axis is None and not keepdims else torch.mean(x, dim=_axes(x, axis), keepdim=keepdims)


def _axes(x: Tensor, axis: Axis) -> Any:
    return tuple(range(x.dim())) if axis is None else axis


def var(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return torch.var(x, dim=_axes(x, axis), correction=0, keepdim=keepdims)


def std(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor:
    return torch.std(x, dim=_axes(x, axis), correction=0, keepdim=keepdims)


def max(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return x.max() if axis is None and not keepdims else torch.amax(x, dim=_axes(x, axis), keepdim=keepdims)


def min(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return x.min() if axis is None and not keepdims else torch.amin(x, dim=_axes(x, axis), keepdim=keepdims)


def prod(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return x.prod() if axis is None else torch.prod(x, dim=axis, keepdim=keepdims)


def any(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return x.any() if axis is None else torch.any(x, dim=axis, keepdim=keepdims)


def all(x: Tensor, axis: int | None = None, keepdims: bool = False) -> Tensor:
    return x.all() if axis is None else torch.all(x, dim=axis, keepdim=keepdims)


def argmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.argmax(x, dim=axis)


def argsort(x: Tensor, axis: int = -1) -> Tensor:
    return torch.argsort(x, dim=axis, stable=True)


def sort(x: Tensor, axis: int = -1) -> Tensor:
    return torch.sort(x, dim=axis).values


def cumsum(x: Tensor, axis: int = -1) -> Tensor:
    return torch.cumsum(x, dim=axis)


def logsumexp(x: Tensor, axis: int = -1, keepdims: bool = False) -> Tensor:
    return torch.logsumexp(x, dim=axis, keepdim=keepdims)


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.softmax(x, dim=axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    return torch.log_softmax(x, dim=axis)


# ---- shapes and choices


def reshape(x: Tensor, shape: Sequence[Any]) -> Tensor:
    return torch.reshape(x, tuple(shape))


def squeeze(x: Tensor, axis: int) -> Tensor:
    return torch.squeeze(x, axis)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    return torch.unsqueeze(x, axis)


def transpose(x: Tensor, axes: Sequence[int]) -> Tensor:
    return torch.permute(x, tuple(axes))


def tile(x: Tensor, repeats: Sequence[int]) -> Tensor:
    return torch.tile(x, tuple(repeats))


def repeat(x: Tensor, repeats: int, axis: int = 0) -> Tensor:
    return torch.repeat_interleave(x, repeats, dim=axis)


def broadcast_to(x: Tensor, shape: Sequence[Any]) -> Tensor:
    return torch.broadcast_to(x, tuple(shape))


def concat(xs: Sequence[Tensor], axis: int = -1) -> Tensor:
    return torch.cat(tuple(xs), dim=axis)


def stack(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    return torch.stack(tuple(xs), dim=axis)


def unstack(x: Tensor, axis: int = 0) -> list[Tensor]:
    return list(torch.unbind(x, dim=axis))


def split(x: Tensor, sizes: Sequence[int], axis: int = -1) -> list[Tensor]:
    return list(torch.split(x, list(sizes), dim=axis))


def matmul(x: Tensor, y: Tensor) -> Tensor:
    return torch.matmul(x, y)


def one_hot(x: Tensor, depth: int) -> Tensor:
    return F.one_hot(x.long(), depth).to(torch.float32)


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    if x.dim() == 2:
        return x.gather(1, index.long().unsqueeze(1)).squeeze(1)
    return x[torch.arange(x.shape[0], device=x.device), index.long()]


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index)


def sequence_mask(lengths: Tensor, max_len: int) -> Tensor:
    return torch.arange(max_len, device=lengths.device).unsqueeze(0) < lengths.unsqueeze(1)


# ---- random numbers


def generator(seed: int | None, device: Any = None) -> Any:
    made = torch.Generator(device=device or "cpu")
    if seed is None:
        made.seed()
    else:
        made.manual_seed(int(seed))
    return made


def get_generator_state(generator: Any) -> Any:
    return generator.get_state().numpy().copy()


def set_generator_state(generator: Any, state: Any) -> None:
    generator.set_state(torch.from_numpy(np.array(state, dtype=np.uint8)))


def normal(shape: Sequence[Any], generator: Any, device: Any = None) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=_device(generator, device)).to(device)


def uniform(shape: Sequence[Any], generator: Any, low: float = 0.0, high: float = 1.0, device: Any = None) -> Tensor:
    drawn = torch.rand(tuple(shape), generator=generator, device=_device(generator, device)).to(device)
    return drawn if low == 0.0 and high == 1.0 else drawn * (high - low) + low


def _device(generator: Any, device: Any) -> Any:
    return generator.device if generator is not None else device  # a generator draws on its own device only


def categorical(logits: Tensor, generator: Any) -> Tensor:
    # The maximum of logits with Gumbel noise: exact, and no error where all probabilities of a row underflow.
    drawn = uniform(logits.shape, generator, device=logits.device)
    return torch.argmax(logits - torch.log(-torch.log(drawn.clamp(min=1e-20))), dim=-1)


def gamma(concentration: Tensor, generator: Any) -> Tensor:
    # torch's own sampler, which knows the derivative, takes no generator: it is seeded from ours.
    seed = int(torch.randint(0, 2**62, (), generator=generator, device=_device(generator, None)))
    devices = [concentration.device] if concentration.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return torch._standard_gamma(concentration)


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


# ---- parameters, gradients and optimizers


def parameters(model: Any) -> list[Any]:
    return [p for p in model.parameters() if p.requires_grad]


def named_arrays(model: Any) -> dict[str, Any]:
    return {key: value.detach().cpu().numpy().copy() for key, value in model.state_dict().items()}


def load_arrays(model: Any, arrays: Mapping[str, Any]) -> None:
    own = model.state_dict()
    missing, unknown = sorted(set(own) - set(arrays)), sorted(set(arrays) - set(own))
    if missing or unknown:
        raise ValueError(f"These weights are of another model: missing {missing}, unknown {unknown}.")
    with torch.no_grad():
        for key, tensor in own.items():
            value = arrays[key]
            if tuple(np.shape(value)) != tuple(tensor.shape):
                raise ValueError(
                    f"Weight {key!r} has the shape {tuple(np.shape(value))}, and the model's is {tuple(tensor.shape)}."
                )
            tensor.copy_(value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value)))


def copy_params(src: Any, dst: Any, tau: float = 1.0) -> None:
    with torch.no_grad():
        sources, targets = _tensors(src), _tensors(dst)
        if tau == 1.0:
            torch._foreach_copy_(targets, sources)
        else:
            torch._foreach_lerp_(targets, sources, tau)
        if isinstance(src, torch.nn.Module):
            for a, b in zip(src.buffers(), dst.buffers(), strict=True):
                b.copy_(a)


def _tensors(x: Any) -> list[Any]:
    return list(x.parameters()) if isinstance(x, torch.nn.Module) else list(x)


def gradients(loss: Tensor, parameters: Sequence[Any], retain: bool = False, tape: Any = None) -> list[Any]:
    found = torch.autograd.grad(loss, parameters, retain_graph=retain, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def global_norm(tensors: Sequence[Any]) -> Tensor:
    if len(tensors) == 1:
        return torch.linalg.vector_norm(tensors[0])
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


def clip_by_global_norm(tensors: Sequence[Any], clip_norm: float | None) -> tuple[list[Any], Tensor]:
    norm = global_norm(tensors)
    tensors = list(tensors)
    if clip_norm is None:
        return tensors, norm
    scale = torch.clamp(clip_norm / (norm + 1e-6), max=1.0)
    return list(torch._foreach_mul(tensors, scale)), norm


def adam(
    parameters: Iterable[Any],
    lr: float,
    eps: float = 1e-8,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> Any:
    if weight_decay:
        return torch.optim.Adam(list(parameters), lr=lr, eps=eps, betas=betas, weight_decay=weight_decay, foreach=True)
    return TorchAdam(list(parameters), lr=lr, eps=eps, betas=betas)


def rmsprop(parameters: Iterable[Any], lr: float, decay: float = 0.99, momentum: float = 0.0, eps: float = 0.1) -> Any:
    return torch.optim.RMSprop(list(parameters), lr=lr, alpha=decay, momentum=momentum, eps=eps, foreach=True)


def sgd(parameters: Iterable[Any], lr: float, momentum: float = 0.0) -> Any:
    return torch.optim.SGD(list(parameters), lr=lr, momentum=momentum, foreach=True)


def apply_gradients(optimizer: Any, parameters: Sequence[Any], grads: Sequence[Any]) -> None:
    if hasattr(optimizer, "step_with"):
        optimizer.step_with(parameters, grads)
        return
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad
    optimizer.step()
    for parameter in parameters:
        parameter.grad = None


def set_lr(optimizer: Any, lr: float) -> None:
    if hasattr(optimizer, "set_lr"):
        optimizer.set_lr(lr)
        return
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_state(optimizer: Any) -> list[Any]:
    if hasattr(optimizer, "state_of"):
        return list(optimizer.state_of())
    arrays: list[Any] = []
    for entry in _entries(optimizer):
        kept = optimizer.state.get(entry, {})
        for key in sorted(kept):
            value = kept[key]
            arrays.append(value.detach().cpu().numpy().copy() if isinstance(value, torch.Tensor) else np.asarray(value))
    return arrays


def load_optimizer_state(optimizer: Any, arrays: Sequence[Any]) -> None:
    if hasattr(optimizer, "load_state_of"):
        optimizer.load_state_of(arrays)
        return
    entries = _entries(optimizer)
    if not arrays:  # nothing was learned yet
        optimizer.state.clear()
        return
    keys = _state_keys(optimizer)
    if len(arrays) != len(entries) * len(keys):
        raise ValueError(f"The optimizer keeps {len(entries) * len(keys)} arrays, and {len(arrays)} were given.")
    given = iter(arrays)
    for entry in entries:
        kept: dict[str, Any] = {}
        for key in keys:
            value = torch.from_numpy(np.array(next(given)))
            kept[key] = value.to(entry.device) if value.dim() else value
        optimizer.state[entry] = kept


def _entries(optimizer: Any) -> list[Any]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _state_keys(optimizer: Any) -> list[str]:
    """The names of what an optimizer keeps of one parameter: tried on a parameter of one number."""
    for kept in optimizer.state.values():
        return sorted(kept)
    probe = torch.nn.Parameter(torch.zeros(1))
    defaults = {key: value for key, value in optimizer.defaults.items() if key not in ("decoupled_weight_decay",)}
    tried = type(optimizer)([probe], **defaults)
    probe.grad = torch.zeros(1)
    tried.step()
    return builtins.sorted(tried.state[probe])
