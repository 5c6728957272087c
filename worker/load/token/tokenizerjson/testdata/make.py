"""Makes the small tokenizers of the tests and what the reference says of them.

    pip install tokenizers==0.23.3 && python3 make.py

Writes NAME.json (the tokenizer) and golden.json (texts and, for every
tokenizer, their ids by the reference, special tokens not added). Training breaks
ties at random, so the files are new ones each time, and fit each other."""
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog is not amused.",
    "It's what they've said: we're done, I'll go, you'd stay. DON'T.",
    "for i in range(10):\n    print(i, end='')\n\treturn x == y && z != 0;",
    "Tokens and offers for the queue; all new days are out for him and her, not you.",
    "Größe über Straße, naïve café, Ελληνικά, русский язык, 日本語の文章です。中文也有。",
    "1234567890 3.14159 0xdeadbeef 2026-11-22T23:00:00Z 100,000 tokens",
    "how new now old see two way who boy did its let put say she too use can had one our day get has his man",
] * 4
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPECIAL = ["<|begin|>", "<|end|>"]


def byte_level(pre, normalizer=None, size=600, ignore_merges=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=SPECIAL, show_progress=False))
    return t


def split(regex):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(regex), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def sentencepiece(pre, normalizer):
    """Byte fallback needs the tokens of bytes in the vocabulary."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.train_from_iterator(CORPUS[:7], trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=70,
        show_progress=False))
    d = json.loads(t.to_str())
    d["normalizer"], d["pre_tokenizer"] = json.loads(normalizer), json.loads(pre)
    d["added_tokens"] = [a for a in d["added_tokens"] if not a["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(d))


def tokenizers():
    gpt2 = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    gpt2.add_tokens([AddedToken("lazy dog", normalized=True), AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False),
                     AddedToken("fox", single_word=True)])
    yield "gpt2", gpt2
    yield "gpt2_prefix", byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    llama3 = json.loads(byte_level(split(LLAMA3), ignore_merges=True).to_str())
    del llama3["model"]["merges"][-60:]  # words that only the vocabulary knows, as in Llama 3's own
    yield "llama3", Tokenizer.from_str(json.dumps(llama3))
    yield "qwen", byte_level(split(QWEN), normalizers.NFC())
    prepend = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    yield "llama2", sentencepiece("null", json.dumps(prepend))
    first = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
    yield "mistral", sentencepiece(json.dumps(first), "null")
    always = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    strip = {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFKC"},
             {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    yield "metaspace", sentencepiece(json.dumps(always), json.dumps(strip))
    bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer, bert.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    bert.train_from_iterator(CORPUS, trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], limit_alphabet=90, show_progress=False))
    yield "bert", bert
    digits = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    digits.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    digits.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.Punctuation("contiguous")])
    digits.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=400, special_tokens=["[UNK]"], end_of_word_suffix="</w>", show_progress=False))
    yield "digits", digits
    fused = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    fused.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
    fused.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], limit_alphabet=40, show_progress=False))
    yield "fused", fused


def texts():
    rng = random.Random(7)
    fixed = [
        "", " ", "  ", "\n", "\n\n \n", "\t\ttabs\t", "Hello, world!", " leading", "trailing  ", "a  b   c", "the fox", "foxes fox",
        "the lazy dog naps", "<|begin|>hi<|end|>", "a <mask> b", "x<mask>", "I'LL don't we'Ve it'S", "12345678 1 22 333 4444",
        "e\u0301 \u00e9 \u1e9b\u0323 \ufb01ne \u212b", "\u200bzero\u200d\ufeffwidth", "\u00a0no\u2003break\u3000space\u0085", "👩‍👩‍👧‍👦🏽 🇩🇪",
        "日本語 中文 한국어", "עברית العربية", "ǅ ß ſ İ ı", "a\r\nb\rc\u2028d", "<s>[INST] x [/INST]</s>", "<0x41>", "▁▁x▁y ▁", "\x00\x07\x1b[0m",
        "if (a<b){return `${c}`;}//…", "٣٤٥ ½ Ⅷ ²", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x" * 130, "😀" * 9, "\U0010ffff\ue000", "it'\u017f",
        "..., --- ***", "$100+2<=3^4|5~6`7", "don\u2019t “quote”",
    ]
    alphabet = list("etaoin shrdlu\n\t 0123456789.,!?'\"()<>[]{}_-▁ÄÖüßéñçΑΩяж語漢ひカ한😀👍🏽\u0301\u200d\u00a0\u3000")
    for _ in range(60):
        fixed.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 60))))
    return fixed


def main():
    golden = {"texts": texts(), "ids": {}}
    for name, t in tokenizers():
        t.save(f"{name}.json", pretty=False)
        golden["ids"][name] = [t.encode(x, add_special_tokens=False).ids for x in golden["texts"]]
    with open("golden.json", "w") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
