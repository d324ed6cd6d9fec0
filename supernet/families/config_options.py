"""Options of ``config.json`` that all families share, as Transformers 2 to 5 writes them.

Transformers' own models look at the fields of the first block only, so that every other field is
without effect on them. It is refused all the same where it tells of other arithmetic: a checkpoint
that says so was trained with other code.
"""

from __future__ import annotations

from elasticnas.supernet.checkpoint.options import Option, honoured, refused, without_effect

SAME = "use a checkpoint of the stock architecture"

GENERATION_OPTIONS = (
    "max_length",
    "min_length",
    "max_new_tokens",
    "min_new_tokens",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "num_assistant_tokens",
    "num_assistant_tokens_schedule",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
    "repetition_penalty",
    "encoder_repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "prefix",
    "assistant_confidence_threshold",
    "assistant_lookbehind",
    "target_lookbehind",
)
"""What Transformers 4 wrote into every config.json about text generation."""

COMMON_OPTIONS: dict[str, Option] = {
    "model_type": honoured("the architecture"),
    "architectures": honoured("a base trained for another task needs its head from the adapter"),
    "vocab_size": honoured("rows of the embeddings"),
    "max_position_embeddings": honoured(
        "the longest sequence (RoBERTa: less its padding's offset)"
    ),
    "pad_token_id": honoured("RoBERTa counts positions from behind it"),
    "id2label": honoured("the names of the classes, also numbers; LABEL_0 ... are no names"),
    "problem_type": honoured("multi-label and regression with several outputs are refused"),
    "initializer_range": honoured("how a new head is drawn in training"),
    "tokenizer_class": honoured("as AutoTokenizer takes it, where tokenizer_config.json has none"),
    "quantization_config": refused(
        "quantised weights are not read",
        "load the model in float32, call dequantize() on it and save it again",
    ),
    "compression_config": refused(
        "quantised weights are not read",
        "load the model in float32, call dequantize() on it and save it again",
    ),
    "pruned_heads": refused("heads are taken out of some layers", SAME),
    "per_layer_config": refused("layers differ from each other", SAME),
    "is_encoder_decoder": refused("an encoder-decoder is not read", "register an encoder"),
    "transformers_weights": refused(
        "the weights are in another file", "name it model.safetensors and take this option out"
    ),
    "linear_shapes": refused(
        "a subnet that was exported is no super-network", "register the super-network itself"
    ),
    "left_out": refused(
        "a subnet that was exported is no super-network", "register the super-network itself"
    ),
    "adapters": refused(
        "adapters of the adapters library are not read",
        "merge them into the base, or train the adapter with PEFT and put it into adapter/",
    ),
    "num_labels": without_effect("the head's rows are counted"),
    "_num_labels": without_effect("the head's rows are counted"),
    "label2id": without_effect("id2label is read"),
    "tie_word_embeddings": without_effect("a classifier has no language-model head"),
    "tie_weights_": without_effect("a classifier has no language-model head"),
    "tie_encoder_decoder": without_effect("an encoder has no decoder"),
    "cross_attention_hidden_size": without_effect("an encoder has no cross-attention"),
    "chunk_size_feed_forward": without_effect("how the same sums are cut into parts"),
    "dtype": without_effect("weights have the dtypes of their file"),
    "torch_dtype": without_effect("weights have the dtypes of their file"),
    "use_bfloat16": without_effect("weights have the dtypes of their file"),
    "attn_implementation": without_effect("how the same attention is computed"),
    "_attn_implementation": without_effect("how the same attention is computed"),
    "_attn_implementation_internal": without_effect("how the same attention is computed"),
    "_attn_implementation_autoset": without_effect("how the same attention is computed"),
    "experts_implementation": without_effect("these models have no experts"),
    "_experts_implementation_internal": without_effect("these models have no experts"),
    "use_cache": without_effect("a decoder's cache"),
    "output_attentions": without_effect("what else the model returns"),
    "_output_attentions": without_effect("what else the model returns"),
    "output_hidden_states": without_effect("what else the model returns"),
    "tie_last_hidden_states": without_effect("what else the model returns"),
    "output_past": without_effect("what else the model returns"),
    "return_dict": without_effect("how the model returns it"),
    "use_return_dict": without_effect("how the model returns it"),
    "xla_device": without_effect("where the model was trained"),
    "tf_legacy_loss": without_effect("used while training"),
    "torchscript": without_effect("how the model returns it"),
    "gradient_checkpointing": without_effect("used while training"),
    "auto_map": without_effect("code in a checkpoint is never run"),
    "custom_pipelines": without_effect("code in a checkpoint is never run"),
    "transformers_version": without_effect("who wrote the file"),
    "_name_or_path": without_effect("where the model was"),
    "name_or_path": without_effect("where the model was"),
    "_commit_hash": without_effect("where the model was"),
    "model_name": without_effect("what the model was called"),
    "finetuning_task": without_effect("what the model was trained for"),
    "language": without_effect("what the model was trained for"),
    "task_specific_params": without_effect("settings of text generation"),
    "sbert_ce_default_activation_function": without_effect("used by Sentence Transformers only"),
    "sentence_transformers": without_effect("used by Sentence Transformers only"),
    "transformers.js_config": without_effect("settings of another program"),
    "bos_token_id": without_effect("the tokenizer's own is used"),
    "eos_token_id": without_effect("the tokenizer's own is used"),
    "sep_token_id": without_effect("the tokenizer's own is used"),
    "cls_token_id": without_effect("the tokenizer's own is used"),
    "unk_token_id": without_effect("the tokenizer's own is used"),
    "mask_token_id": without_effect("the tokenizer's own is used"),
    "eos_token_ids": without_effect("the tokenizer's own is used"),
    "decoder_start_token_id": without_effect("settings of text generation"),
    # What the first releases of BERT's own code wrote; the pooler is the stock one in all of them.
    "directionality": without_effect("written by Google's BERT, read by nothing"),
    "pooler_fc_size": without_effect("written by Google's BERT, read by nothing"),
    "pooler_num_attention_heads": without_effect("written by Google's BERT, read by nothing"),
    "pooler_num_fc_layers": without_effect("written by Google's BERT, read by nothing"),
    "pooler_size_per_head": without_effect("written by Google's BERT, read by nothing"),
    "pooler_type": without_effect("written by Google's BERT, read by nothing"),
    **dict.fromkeys(GENERATION_OPTIONS, without_effect("settings of text generation")),
}

ENCODER_OPTIONS: dict[str, Option] = {
    **COMMON_OPTIONS,
    "is_decoder": refused("a decoder's attention looks back only", "register an encoder"),
    "add_cross_attention": refused("a decoder's attention to an encoder", "register an encoder"),
    "rope_theta": refused("rotary positions", SAME),
    "rope_scaling": refused("rotary positions", SAME),
    "rope_parameters": refused("rotary positions", SAME),
}
"""The common ones, and those by which a decoder gives itself away."""
