"""The options of ``adapter_config.json``: what PEFT 0.5 to 0.21 writes, and LoNAS and SQFT add."""

from __future__ import annotations

from elasticnas.supernet.checkpoint.options import Option, honoured, refused, without_effect

_PLAIN = "train the adapter as plain LoRA, or merge it into the base (merge_and_unload)"
_DEQUANTISE = (
    "search the adapter that was trained on the sparse base in floating point (sparse_adapter), or "
    "describe a space over the merged model, dequantised, in search_space.json"
)
_CONVERT = (
    "load it with PeftModel.from_pretrained, set peft_config['default'].init_lora_weights = True, "
    "save the adapter with save_pretrained, and save unload(), the changed base, as base/"
)

ADAPTER_OPTIONS: dict[str, Option] = {
    "peft_type": refused("only LoRA adapters are read", "use a LoRA adapter", accepted=("LORA",)),
    "task_type": refused(
        "the adapter belongs to another task than the base model's head",
        "train it on a sequence classifier, on a causal language model, or on a model of "
        "extractive question answering",
        accepted=("SEQ_CLS", "FEATURE_EXTRACTION", "CAUSAL_LM", "QUESTION_ANS"),
    ),
    "r": honoured("rank"),
    "lora_alpha": honoured("scaling is lora_alpha / r"),
    "use_rslora": honoured("scaling is lora_alpha / sqrt(r)"),
    "rank_pattern": honoured("ranks by module"),
    "alpha_pattern": honoured("alphas by module"),
    "target_modules": honoured("an adapter outside of them is refused: PEFT would not load it"),
    "exclude_modules": honoured("an adapter in one of them is refused"),
    "layers_to_transform": honoured("an adapter in another layer is refused"),
    "layers_pattern": honoured("where layers_to_transform finds the layer's number"),
    "modules_to_save": honoured("an adapter in one of them is refused; their tensors are read"),
    "base_model_name_or_path": honoured("shown on model cards; nothing is downloaded"),
    "init_lora_weights": refused(
        "this initialisation changes the base weights (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)",
        _CONVERT,
        accepted=(True, "gaussian", "eva", "orthogonal", "mica"),
    ),
    "bias": refused("the adapter changes biases", _PLAIN, accepted=("none",)),
    "lora_bias": refused("lora_B has a bias", _PLAIN),
    "use_dora": refused("DoRA scales the merged weight", _PLAIN),
    "use_qalora": refused("QA-LoRA pools its inputs", _PLAIN),
    "use_bdlora": refused("the adapter is block-diagonal", _PLAIN),
    "alora_invocation_tokens": refused("the adapter acts on some of the tokens only", _PLAIN),
    "arrow_config": refused("Arrow mixes several adapters", _PLAIN),
    "kasa_config": refused("KaSA truncates the base weights", _PLAIN),
    "monteclora_config": refused("the adapter is sampled", _PLAIN),
    "velora_config": refused("VeLoRA has projections of its own", _PLAIN),
    "layer_replication": refused("the base model's layers are stacked anew", _PLAIN),
    "megatron_config": refused("the layers are Megatron's", _PLAIN),
    "target_parameters": refused("the adapter is on bare parameters", _PLAIN),
    "trainable_token_indices": refused("the adapter changes embeddings", _PLAIN),
    "sparse_adapter": honoured("SparsePEFT: merged where the base is not zero, which PEFT ignores"),
    "quantization_aware": refused("SQFT quantises the merged weight", _DEQUANTISE),
    "loftq_config": without_effect("used with init_lora_weights = loftq only"),
    "eva_config": without_effect("used while training starts"),
    "corda_config": without_effect("used with init_lora_weights = corda only"),
    "lora_ga_config": without_effect("used with init_lora_weights = lora_ga only"),
    "qalora_group_size": without_effect("used with use_qalora only"),
    "megatron_core": without_effect("used with megatron_config only"),
    "fan_in_fan_out": without_effect("PEFT sets it to false for linear layers"),
    "lora_dropout": without_effect("used while training"),
    "ensure_weight_tying": without_effect("a classifier ties no weights"),
    "runtime_config": without_effect("how PEFT uses memory"),
    "inference_mode": without_effect("whether gradients are taken"),
    "auto_mapping": without_effect("which class PEFT wraps"),
    "revision": without_effect("the version of the base on the hub"),
    "peft_version": without_effect("who wrote the file"),
    "merge_weights": without_effect("PEFT before 0.3: when weights were merged"),
}
"""Every option that an ``adapter_config.json`` is known to hold."""
