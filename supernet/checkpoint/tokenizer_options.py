"""The options of ``tokenizer_config.json``, as Transformers 5 and older write them.

The tokenizer is made by Transformers' own AutoTokenizer from the file, so that an option does what
it does there. Refused or left out is only what leads out of the checkpoint's folder.
"""

from __future__ import annotations

from elasticnas.supernet.checkpoint.options import Option, honoured, refused, without_effect

_SAVE = "load it with AutoTokenizer and save it again with save_pretrained"

TOKENIZER_OPTIONS: dict[str, Option] = {
    "tokenizer_class": honoured("any class that the tokenizers library runs; others are refused"),
    "do_lower_case": honoured("of BERT's tokenizer classes"),
    "strip_accents": honoured("of BERT's tokenizer classes"),
    "tokenize_chinese_chars": honoured("of BERT's tokenizer classes"),
    "add_prefix_space": honoured("of byte-level and SentencePiece tokenizer classes"),
    "trim_offsets": honoured("of byte-level tokenizer classes; changes no ids"),
    "errors": honoured("of byte-level tokenizer classes; changes no ids"),
    "legacy": honoured("of LLaMA's tokenizer class"),
    "add_bos_token": honoured("as in AutoTokenizer: mostly without tokenizer.json only"),
    "add_eos_token": honoured("as in AutoTokenizer: mostly without tokenizer.json only"),
    "unk_token": honoured("a special token"),
    "sep_token": honoured("a special token"),
    "pad_token": honoured("a special token"),
    "cls_token": honoured("a special token"),
    "mask_token": honoured("a special token"),
    "bos_token": honoured("a special token"),
    "eos_token": honoured("a special token"),
    "additional_special_tokens": honoured("further special tokens"),
    "extra_special_tokens": honoured("further special tokens"),
    "model_specific_special_tokens": honoured("further special tokens"),
    "added_tokens_decoder": honoured("further tokens, with their ids"),
    "split_special_tokens": honoured("whether a special token in a text is one"),
    "truncation_side": honoured("which end of a long text is cut"),
    "model_input_names": honoured("whether the model is told token types"),
    "vocab": honoured("a vocabulary in the file itself; the folder must hold one all the same"),
    "merges": honoured("merges in the file itself; the folder must hold them all the same"),
    "unk_id": honoured("the unknown token of such a vocabulary"),
    "fix_mistral_regex": honoured("of vocabularies of more than 100,000 tokens"),
    "init_inputs": refused("arguments without a name", _SAVE),
    "fast_tokenizer_files": refused("only tokenizer.json is read", _SAVE),
    "gguf_file": refused("the vocabulary is in another file", _SAVE),
    "auto_map": without_effect("code in a checkpoint is never run"),
    "vocab_file": without_effect("only files of the folder are read"),
    "merges_file": without_effect("only files of the folder are read"),
    "tokenizer_file": without_effect("only files of the folder are read"),
    "special_tokens_map_file": without_effect("only files of the folder are read"),
    "added_tokens_file": without_effect("only files of the folder are read"),
    "name_or_path": without_effect("where the tokenizer was"),
    "cache_dir": without_effect("where the tokenizer was"),
    "token": without_effect("where the tokenizer was"),
    "is_local": without_effect("where the tokenizer was"),
    "local_files_only": without_effect("where the tokenizer was"),
    "model_max_length": without_effect("a search's max_length is used"),
    "max_len": without_effect("a search's max_length is used"),
    "max_length": without_effect("a search's max_length is used"),
    "stride": without_effect("a long text is cut, not split"),
    "truncation_strategy": without_effect("the longer text of a pair is cut first"),
    "padding_side": without_effect("no row's result depends on its padding"),
    "pad_to_multiple_of": without_effect("no row's result depends on its padding"),
    "pad_token_type_id": without_effect("no row's result depends on its padding"),
    "sp_model_kwargs": without_effect("AutoTokenizer ignores it"),
    "do_basic_tokenize": without_effect("AutoTokenizer ignores it"),
    "never_split": without_effect("AutoTokenizer ignores it"),
    "use_fast": without_effect("AutoTokenizer ignores it"),
    "clean_up_tokenization_spaces": without_effect("used for ids to text"),
    "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": without_effect(
        "used for ids to text"
    ),
    "spaces_between_special_tokens": without_effect("used for ids to text"),
    "use_default_system_prompt": without_effect("used for conversations"),
    "chat_template": without_effect("used for conversations"),
    "chat_control_tokens": without_effect("used for conversations"),
    "response_template": without_effect("used for conversations"),
    "response_schema": without_effect("used for conversations"),
    "processor_class": without_effect("used for images and sound"),
    "backend": without_effect("who wrote the file"),
    "files_loaded": without_effect("who wrote the file"),
    "verbose": without_effect("how much is logged"),
}
"""Every option that a ``tokenizer_config.json`` is known to hold. What is not here is given to
AutoTokenizer as it is, and does there what it does in the exported folder."""

LEFT_OUT = frozenset(
    {
        "auto_map",
        "vocab_file",
        "merges_file",
        "tokenizer_file",
        "special_tokens_map_file",
        "added_tokens_file",
        "name_or_path",
        "cache_dir",
        "token",
        "is_local",
        "local_files_only",
    }
)
"""Options that are taken out of the file before it is used or exported."""
