"""vLLM inside this process: started when first needed, fed with token ids, kept at a trainer's weights.

Facts about vLLM 0.32 (7: 0.25.1) that this file rests on:
1. Requests bring Python objects (`vllm_masks.Steering`), so the engine must live in this process
   (`VLLM_ENABLE_V1_MULTIPROCESSING=0`), and its logits processors must be those of the V1 model runner.
2. Starting an engine reseeds the global generators, and on a CPU replaces `torch.set_num_threads` by nothing; its
   CPU sampler draws from torch's global generator at each step even where every request has a seed. All of that is
   put back.
3. `reload_weights` leaves the packed output layer of a CPU engine as it was where embeddings are tied: it is packed
   again here. Without that the engine goes on with its old output layer and says nothing.
4. A `LoRARequest` with `load_inplace` reads its adapter anew at every forward pass; so it is given once, to
   `add_lora`, and requests then name the adapter without it.
5. The end of one engine, by `shutdown` or by garbage collection, takes down what all engines of a process share; so
   that is left to the last of them.
6. Where a prompt is prefilled in parts, the seeded generator of its request is set back after each part by a call that
   generators of a CPU do not have, and the engine dies. So on a CPU prompts are prefilled whole.
7. On a GPU an engine in float32 multiplies in TF32 where it attends, so its log-probabilities are not those of the
   trainer's model to rounding.
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparring.agents.grammar import Grammar, State
from sparring.agents.models import base_folder, model_folder
from sparring.errors import InvalidConfig, need

_running: set[int] = set()  # the engines of this process, by id
_ADAPTER = "policy"
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # those that vLLM has kernels for


@dataclass(frozen=True, slots=True)
class Request:
    """One action to decode.

    Attributes:
        prompt_ids: the prompt. limit: most tokens to decode.
        stop_ids: tokens that end the action; the one that did is among the tokens returned.
        seed: of its samples, below 2**63; None takes the likeliest token.
        state: where constrained decoding begins; None for a free action.
    """

    prompt_ids: Sequence[int]
    limit: int
    stop_ids: frozenset[int]
    seed: int | None
    state: State | None


@dataclass(frozen=True, slots=True)
class Decoded:
    """Tokens with their log-probabilities, and whether one of the stop ids ended them."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stopped: bool


class Engine:
    """One vLLM engine, which several policies may share. It starts at the first request.

    Args:
        model: a model folder (or an adapter's, or a name of `agents.models.model_folder`), or a live Hugging Face
            model (or a peft model on a base in a folder), which the engine follows at each `sync`.
        dtype: of weights and computation. "auto" is float32 on a CPU, where it agrees with the trainer's model to
            rounding, and vLLM's own choice elsewhere.
        max_context: longest prompt and action together, in tokens; by default the model's own limit.
        cache_bytes: memory for keys and values. By default 1 GiB on a CPU, else what vLLM's
            `gpu_memory_utilization` leaves.
        options: further keyword arguments of `vllm.LLM`.

    Raises:
        MissingExtra: vllm is not installed.
        InvalidConfig: an adapter of a rank that vLLM does not take, or (as the engine starts) one in float32 on a GPU.
    """

    def __init__(
        self,
        model: str | Path | Any,
        *,
        dtype: str = "auto",
        max_context: int | None = None,
        cache_bytes: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        _prepare_environment()
        need("vllm", "vllm")
        transformers = need("transformers", "train")
        self._live: Any | None = None
        self._adapter_folder: Path | None = None
        self._folder: Path | None = None
        if isinstance(model, (str, Path)):
            self._folder = folder = model_folder(model)
            if (folder / "adapter_config.json").exists():
                self._folder, self._adapter_folder = base_folder(folder), folder
            self.config = transformers.AutoConfig.from_pretrained(self._folder)
            self._rank = 0 if self._adapter_folder is None else _folder_rank(self._adapter_folder)
        else:
            self._live, self.config = model, model.config
            self._rank = max((one.r for one in getattr(model, "peft_config", {}).values()), default=0)
            if self._rank:
                self._folder = Path(next(iter(model.peft_config.values())).base_model_name_or_path)
        if self._rank > _RANKS[-1]:
            raise InvalidConfig(f"vLLM takes adapters of rank {_RANKS[-1]} at most, this one has {self._rank}")
        self.tokenizer_folder = self._adapter_folder if _has_tokenizer(self._adapter_folder) else self._folder
        self.stop_ids = self._listed_stop_ids()
        self.max_context = max_context or int(getattr(self.config, "max_position_embeddings", 0) or 4096)
        self._dtype, self._cache_bytes, self._options = dtype, cache_bytes, dict(options or {})
        self._llm: Any = None
        self._adapter: Any = None  # the LoRARequest that requests carry
        self._kept: tempfile.TemporaryDirectory[str] | None = None  # where the adapter's files are
        self._names: frozenset[str] = frozenset()
        self._lock = threading.RLock()

    def generate(self, requests: Sequence[Request], grammar: Grammar, *, temperature: float = 1.0) -> list[Decoded]:
        """Decode a batch.

        Args:
            grammar: of the requests' states.
            temperature: of the distribution; log-probabilities are those of the tempered one, over the admissible
                tokens.
        """
        if not requests:
            return []
        import vllm

        prompts = [vllm.TokensPrompt(prompt_token_ids=list(one.prompt_ids)) for one in requests]
        with self._lock:
            llm = self.start()
            params = [_sampling(one, grammar, temperature) for one in requests]
            with torch.random.fork_rng(devices=[]):
                outputs = llm.generate(prompts, params, use_tqdm=False, lora_request=self._adapter)
        return [_decoded(output.outputs[0]) for output in outputs]

    def sync(self) -> None:
        """Take over the live model's weights as they are now, and drop what was cached under the old ones."""
        with self._lock:
            if self._llm is None:
                return
            if self._live is not None and self._rank:
                self._load_adapter(self._live)
            elif self._live is not None:
                state = self._live.state_dict()
                self._reload({name: state[name] for name in self._names if name in state})
            self._llm.reset_prefix_cache()

    def load_weights(self, state: Mapping[str, torch.Tensor]) -> None:
        """Replace the model's own weights (an adapter stays as it is), and drop what was cached.

        Args:
            state: all weights by name, as in the model's files; a tied output layer may stand among them.
        Raises:
            InvalidConfig: a name too many or too few.
        """
        with self._lock:
            self.start()
            tied = "lm_head.weight" if getattr(self.config, "tie_word_embeddings", False) else None
            extra = sorted(state.keys() - self._names - {tied})
            if extra:
                raise InvalidConfig(f"the model has no parameter {extra[0]!r}")
            self._reload({name: state[name] for name in self._names if name in state})
            self._llm.reset_prefix_cache()

    def start(self) -> Any:
        """The engine, started if it was not: a `vllm.LLM`."""
        with self._lock:
            if self._llm is None:
                with _undisturbed(), self._files() as folder:
                    self._names = _weight_names(folder)
                    self._llm = self._launch(folder)
                    self._end = weakref.finalize(self, _end, self._llm)
                if self._adapter_folder is not None:
                    self._add_adapter(self._adapter_folder)
                elif self._live is not None and self._rank:
                    self._load_adapter(self._live)
            return self._llm

    def close(self) -> None:
        """End the engine and free its memory; another request would start it anew."""
        with self._lock:
            if self._llm is not None:
                self._end()
            self._llm = self._adapter = self._kept = None

    def _listed_stop_ids(self) -> frozenset[int]:
        """The ids that end a turn by the model's generation settings."""
        if self._live is not None:
            settings = getattr(self._live, "generation_config", None)
        elif self._folder is not None and (self._folder / "generation_config.json").exists():
            settings = need("transformers", "train").GenerationConfig.from_pretrained(self._folder)
        else:
            settings = None
        listed = getattr(settings, "eos_token_id", None)
        ids = listed if isinstance(listed, (list, tuple)) else [] if listed is None else [listed]
        return frozenset(map(int, ids))

    @contextmanager
    def _files(self) -> Iterator[Path]:
        """The folder to start from; a live model is written to a temporary one."""
        if self._folder is not None:
            yield self._folder
            return
        assert self._live is not None
        with tempfile.TemporaryDirectory(prefix="sparring-vllm-") as name:
            self._live.save_pretrained(name)
            yield Path(name)

    def _launch(self, folder: Path) -> Any:
        import vllm
        from vllm.platforms import current_platform

        is_cpu = current_platform.is_cpu()
        options: dict[str, Any] = {
            "dtype": "float32" if is_cpu and self._dtype == "auto" else self._dtype,
            "max_model_len": self.max_context,
            "kv_cache_memory_bytes": self._cache_bytes or (2**30 if is_cpu else None),
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "logprobs_mode": "processed_logprobs",
            "enable_prefix_caching": True,
            # The mask of a token needs the token before it: nothing can be scheduled ahead.
            "async_scheduling": False,
            "logits_processors": ["sparring.agents.vllm_masks:Masks"],
            "disable_log_stats": True,
        }
        if is_cpu:
            # Whole blocks alone are found again: small ones share more of a conversation between its turns.
            options |= {"enforce_eager": True, "block_size": 32, "enable_chunked_prefill": False}
        elif self._cache_bytes:
            # What is asked for is allocated, whoever else holds memory there (a trainer's model, another engine): else
            # vLLM would want nearly the whole GPU to be free.
            options["gpu_memory_utilization"] = 0.01
        if self._rank and not is_cpu and self._dtype == "float32":
            raise InvalidConfig(
                "on a GPU vLLM runs adapters in half precision alone: dtype must be bfloat16 or float16"
            )
        if self._rank:
            rank = next(one for one in _RANKS if one >= self._rank)
            options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
        llm = vllm.LLM(str(folder), **(options | self._options))
        finalizer = getattr(llm.llm_engine.engine_core, "_finalizer", None)  # before 0.32 there was none
        if finalizer is not None:
            finalizer.detach()  # which would end the other engines too
        _running.add(id(llm))
        return llm

    def _reload(self, weights: Mapping[str, torch.Tensor]) -> None:
        missing = sorted(self._names - weights.keys())
        if missing:
            raise InvalidConfig(
                f"the weights lack {missing[0]!r} ({len(missing)} missing of {len(self._names)}); the engine must be "
                "given all of them, by the names in the model's files"
            )
        pairs = ((name, value.detach()) for name, value in weights.items())
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": pairs})
        self._llm.apply_model(_pack_heads)
        if self._adapter is not None:  # reloading throws adapters out
            self._add_adapter(Path(self._adapter.lora_path))

    def _load_adapter(self, model: Any) -> None:
        kept = tempfile.TemporaryDirectory(prefix="sparring-adapter-")
        model.save_pretrained(kept.name)
        self._add_adapter(Path(kept.name))
        self._kept = kept

    def _add_adapter(self, folder: Path) -> None:
        from vllm.lora.request import LoRARequest

        self._llm.llm_engine.add_lora(LoRARequest(_ADAPTER, 1, str(folder), load_inplace=True))
        self._adapter = LoRARequest(_ADAPTER, 1, str(folder))


def _end(llm: Any) -> None:
    """Free an engine's memory, and with the last engine what they share."""
    core = llm.llm_engine.engine_core.engine_core
    _running.discard(id(llm))
    if _running:
        core.model_executor.shutdown()
        core.scheduler.shutdown()
    else:
        core.shutdown()


def _prepare_environment() -> None:
    """What vLLM reads from the environment; the first two are no choice here."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    for name, value in (
        ("VLLM_CPU_OMP_THREADS_BIND", "nobind"),  # threads are shared with the trainer, and with neighbours
        ("VLLM_LOGGING_LEVEL", "ERROR"),
        ("VLLM_NO_USAGE_STATS", "1"),
    ):
        os.environ.setdefault(name, value)


def _sampling(request: Request, grammar: Grammar, temperature: float) -> Any:
    import vllm

    from sparring.agents.vllm_masks import ARGUMENT, Steering

    is_greedy = request.seed is None
    divisor = temperature if is_greedy else 1.0
    is_steered = request.state is not None or divisor != 1.0
    return vllm.SamplingParams(
        temperature=0.0 if is_greedy else temperature,
        seed=request.seed,
        max_tokens=request.limit,
        stop_token_ids=sorted(request.stop_ids),
        ignore_eos=True,
        logprobs=0,
        detokenize=False,
        skip_clone=True,  # a deep copy would copy the grammar
        extra_args={ARGUMENT: Steering(grammar, request.state, divisor)} if is_steered else None,
    )


def _decoded(completion: Any) -> Decoded:
    ids = tuple(completion.token_ids)
    logprobs = tuple(min(at[token].logprob, 0.0) for token, at in zip(ids, completion.logprobs, strict=True))
    return Decoded(ids, logprobs, stopped=completion.finish_reason == "stop")


def _pack_heads(model: torch.nn.Module) -> None:
    """Pack output layers again, where a CPU engine packs them."""
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    for module in model.modules():
        if isinstance(module, VocabParallelEmbedding) and hasattr(module, "cpu_linear"):
            dispatch_cpu_unquantized_gemm(module, remove_weight=False)


def _weight_names(folder: Path) -> frozenset[str]:
    """The names of the weights in a model folder's safetensors."""
    safetensors = need("safetensors", "train")
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safetensors.safe_open(path, framework="pt") as file:
            names.update(file.keys())
    if not names:
        raise InvalidConfig(f"{folder} holds no .safetensors: save the model with save_pretrained")
    return frozenset(names)


def _has_tokenizer(folder: Path | None) -> bool:
    return folder is not None and (folder / "tokenizer_config.json").exists()


def _folder_rank(folder: Path) -> int:
    return int(need("peft", "train").PeftConfig.from_pretrained(folder).r)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Put global generators and torch's number of threads back."""
    set_threads, threads = torch.set_num_threads, torch.get_num_threads()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if has_cuda else ()
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        torch.set_num_threads = set_threads
        torch.set_num_threads(threads)
