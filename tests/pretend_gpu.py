"""A GPU that is made up: its tensors compute on the CPU and refuse to meet tensors that live there, as on a real one.

It shows what no other test of a machine without a GPU can: that what meets in a computation was brought to one device.
Kernels, types and speed are the CPU's. torch takes such a device once in a process, so that it needs one of its own.
"""

import importlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from ketchup_eval import cli

NAME = "pretend"
aten = torch.ops.aten
FROM_ANYWHERE = {aten.copy_.default, aten._to_copy.default}
BY_INDICES = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
"""A GPU's tensor may be indexed by the CPU's."""


class OnGpu(torch.Tensor):
    """A tensor there, whose numbers are those of `held`, here."""

    @staticmethod
    def __new__(cls, held, device):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=device,
            requires_grad=held.requires_grad,
        )

    def __init__(self, held, device):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})

    def __repr__(self, **_):
        return f"OnGpu({self.held!r})"

    def tolist(self):
        """As of any GPU's tensor; torch has it for none that Python makes up."""
        return self.held.tolist()

    def numpy(self, **_):
        raise TypeError("can't convert a GPU's tensor to numpy; use Tensor.cpu() first")

    __array__ = numpy


class _Everywhere(TorchDispatchMode):
    """New tensors too are made where they were asked for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


def _computed(function, args, kwargs):
    if torch._C._dispatch_has_kernel_for_dispatch_key(function.name(), "CompositeImplicitAutograd"):
        with _Everywhere():
            found = function.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    asked = kwargs.get("device")
    if not there and (asked is None or torch.device(asked).type != NAME):
        return function(*args, **kwargs)
    if function is aten._fused_sdp_choice.default:
        return 0  # plain attention: the CPU's fused ones know no such device
    if there:
        _refuse_to_mix(function, args, tensors)
    return _wrapped(function, args, kwargs, there, args[0].device if function is aten.copy_.default else asked)


@torch.inference_mode(mode=False)  # a tensor that Python makes up, and a view of it, are of one kind then
def _wrapped(function, args, kwargs, there, asked):
    """What the CPU makes of the held tensors; where it ends up was asked for, or follows from the operands."""
    if asked is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")} if "device" in kwargs else kwargs
    device = torch.device(asked) if asked is not None else there[0].device
    inner_args, inner_kwargs = tree_map(lambda value: value.held if isinstance(value, OnGpu) else value, (args, kwargs))
    if inner_kwargs.get("generator") is not None:
        raise RuntimeError("Expected a generator of the GPU and found one of the CPU")
    found = function(*inner_args, **inner_kwargs)
    if device.type != NAME:
        return args[0] if function is aten.copy_.default else tree_map(_own_copy, found)
    known = {id(tensor.held): tensor for tensor in there}
    return tree_map(lambda value: _put(value, known, device), found)


def _put(value, known, device):
    """A tensor that was written in place stays the one that it was."""
    if not isinstance(value, torch.Tensor):
        return value
    return known[id(value)] if id(value) in known else OnGpu(value, device)


def _own_copy(value):
    return value.clone() if isinstance(value, torch.Tensor) else value


def _refuse_to_mix(function, args, tensors):
    if function in FROM_ANYWHERE:
        return
    here = [tensor for tensor in tensors if not isinstance(tensor, OnGpu) and tensor.dim()]
    if function in BY_INDICES and isinstance(args[0], OnGpu):
        values = args[2] if len(args) > 2 else args[0]
        here = [tensor for tensor in here if tensor is values]
    if here:
        shapes = [(tensor.device.type, tuple(tensor.shape)) for tensor in tensors]
        raise RuntimeError(f"Expected all tensors to be on the same device: {function} of {shapes}")


class _Module:
    """What torch asks the module of a kind of device for."""

    def is_initialized(self):
        return True

    def is_available(self):
        return True

    def _is_in_bad_fork(self):
        return False

    def current_device(self):
        return 0

    def device_count(self):
        return 2

    def manual_seed_all(self, seed):
        torch.default_generator.manual_seed(seed)

    def get_rng_state(self, device):
        assert torch.device(device) == torch.device(NAME, 0), "the other GPU is somebody else's"
        return torch.default_generator.get_state()

    def set_rng_state(self, state, device):
        assert torch.device(device) == torch.device(NAME, 0), "the other GPU is somebody else's"
        torch.default_generator.set_state(state)


def everywhere():
    """From now on this process has two such GPUs; tensors are made there within the context that it returns."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=) reads a list here, and moves it then
    torch.__future__.set_swap_module_params_on_conversion(True)
    return _Everywhere()


def app(arguments, prog_name):
    """`ketchup ARGUMENTS` on the first of them."""
    context = everywhere()
    for name in ("ketchup.devices", "ketchup.processes", "ketchup.rollouts.face"):
        importlib.import_module(name).own_device = lambda *_: torch.device(NAME, 0)
    with context:
        cli.app(arguments, prog_name=prog_name)
