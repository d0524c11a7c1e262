"""Texts that are not in English letters: what metrics read of them, and what they say that they do not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from ketchup.errors import UsageError
from ketchup.tasks import task_named
from ketchup_eval.metrics import METRICS, bleu, metrics_for, unread
from ketchup_eval.metrics.scripts import BEYOND_ASCII, share_of_words, unicode_words
from tests.evaluation.given import ketchup, plain, write
from tests.metrics.given import items

TEXTS = {
    "Chinese": "这是一个测试句子。",
    "Japanese": "今日はカタカナを読みます。",
    "Dutch": "vóór één huis, tweede!",
    "Hindi": "हिन्दी में क्षेत्र लिखा।",
    "Thai": "ภาษาไทยเป็น",
    "Korean": "한국어 문장입니다.",
    "English": "don't pay 3.14 or 1,000 for x-y",
    "Persian": "کتاب می خواهم",
    "Greek": "ελληνικά ωμέγα",
    "Russian": "русский ёж",
}
WORDS = {
    # By uniseg 0.10.1, another implementation of UAX #29, without words that have no letter, mark or digit.
    "Chinese": ["这", "是", "一", "个", "测", "试", "句", "子"],
    "Japanese": ["今", "日", "は", "カタカナ", "を", "読", "み", "ま", "す"],
    "Dutch": ["vóór", "één", "huis", "tweede"],
    "Hindi": ["हिन्दी", "में", "क्षेत्र", "लिखा"],
    "Thai": ["ภ", "า", "ษ", "า", "ไ", "ท", "ย", "เ", "ป็", "น"],
    "Korean": ["한국어", "문장입니다"],
    "English": ["don't", "pay", "3.14", "or", "1,000", "for", "x", "y"],
    "Persian": ["کتاب", "می", "خواهم"],
    "Greek": ["ελληνικά", "ωμέγα"],
    "Russian": ["русский", "ёж"],
}


@pytest.mark.parametrize("language", TEXTS)
def test_words_are_those_of_unicode(language):
    assert unicode_words(TEXTS[language]) == WORDS[language]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Één", "e\u0301e\u0301n"),  # composed and decomposed
        ("ＡＢＣ１", "abc1"),  # full width
        ("ﬁets STRASSE", "fiets straße"),
        ("don’t", "don't"),
        ("woorden\u00addeel", "woordendeel"),  # a soft hyphen
        ("ΟΔΟΣ", "οδος"),
    ],
)
def test_what_readers_take_for_the_same_is_the_same(one, other):
    assert unicode_words(one) == unicode_words(other)


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_has_all_in_common_with_itself(language):
    """And, bigrams apart, nothing with another language's."""
    texts = [TEXTS[language]]
    assert METRICS["rouge-unicode"].statistics(items(texts, texts)).tolist() == [[1, 1, 1, 1]]
    other = ["완전히 다른" if language != "Korean" else "совсем другое"]
    assert METRICS["rouge-unicode"].statistics(items(texts, other)).tolist() == [[0, 0, 0, 0]]


def test_overlaps_by_hand():
    """Chinese: 5 of 6 characters, 3 of 5 pairs. Dutch: 1 word of 4 and of 3: 2/7. Hindi: other vowel, other word."""
    rouge1, rouge2 = (
        METRICS["rouge-unicode"]
        .statistics(items(["今天天气真好", "v r n huis", "किताब"], ["今天天气很好", "vóór één huis", "किताबें"]))[:, :2]
        .T
    )
    assert rouge1 == pytest.approx([5 / 6, 2 / 7, 0])
    assert rouge2 == pytest.approx([3 / 5, 0, 0])


words = st.lists(st.sampled_from(["house", "houses", "the", "cat", "12", "x"]), max_size=8).map(" ".join)


@given(words, words)
def test_it_is_rouge_unstemmed_where_both_read_the_same(text, reference):
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)
    theirs = [score.fmeasure for score in scorer.score(reference, text).values()]
    assert METRICS["rouge-unicode"].statistics(items([text], [reference]))[0].tolist() == pytest.approx(theirs)


def test_shares_of_words():
    assert share_of_words(["vóór één huis", "a b c d e"], BEYOND_ASCII) == 2 / 8
    assert share_of_words(["... 🙂", ""], BEYOND_ASCII) == 0


@pytest.mark.parametrize(
    ("name", "language", "said"),
    [
        ("rouge", "Chinese", "100.0% of the words"),
        ("rouge", "Hindi", "100.0% of the words"),
        ("rouge", "Dutch", "50.0% of the words"),
        ("rouge", "English", None),
        ("rouge-unicode", "Chinese", None),
        ("bleu", "Chinese", "choose --bleu-tokenize zh, ja-mecab or char"),
        ("bleu", "Thai", "100.0% of what it takes for words"),
        ("bleu", "Hindi", None),
        ("ter", "Japanese", "chrf counts characters"),
        ("ter", "Dutch", None),
        ("chrf", "Chinese", None),
        ("accuracy", "Chinese", None),
    ],
)
def test_metrics_say_what_they_do_not_read(name, language, said, caplog):
    found = unread([METRICS[name]], [TEXTS[language]], [TEXTS[language]])
    assert [said in sentence for sentence in found] == ([True] if said else [])
    assert [record.message for record in caplog.records] == found


def test_a_name_or_two_in_english_news_is_not_worth_a_word():
    """1 word in 2,000 on XSum; in Dutch debates 1 in 200."""
    assert unread([METRICS["rouge"]], ["word " * 1999 + "Beyoncé"]) == []
    assert unread([METRICS["rouge"]], ["woord " * 199 + "één"]) != []


@pytest.mark.parametrize(
    ("tokenizer", "language", "splits"),
    [
        ("zh", "Chinese", True),
        ("zh", "Japanese", False),
        ("zh", "Thai", False),
        ("char", "Thai", True),
        ("intl", "Chinese", False),
        ("none", "Chinese", False),
    ],
)
def test_a_tokenizer_is_known_for_the_scripts_that_it_splits(tokenizer, language, splits):
    assert (bleu.unread([TEXTS[language]], tokenizer=tokenizer) is None) == splits


@pytest.mark.parametrize("tokenizer", ["13a", "intl", "zh", "char", "none"])
def test_bleu_has_sacrebleus_tokenizers(tokenizer):
    """Score and signature; the signature tells scores of different tokenizers apart."""
    texts, references = ["今天天气真好。", "het is één huis"], ["今天天气很好。", "het is een huis"]
    (metric,) = metrics_for(task_named("europarl"), ["bleu"], tokenizer)
    library = BLEU(tokenize=tokenizer)
    theirs = library.corpus_score(texts, [references]).score
    assert float(metric.scales[0].rule(metric.statistics(items(texts, references)).sum(axis=0), 2)) == pytest.approx(
        theirs
    )
    assert metric.signature("1") == str(library.get_signature())


def test_a_tokenizer_that_is_not_installed_is_named(monkeypatch):
    def missing(**_):
        raise RuntimeError("Japanese tokenization requires extra dependencies")

    bleu.library.cache_clear()
    monkeypatch.setattr(bleu, "BLEU", missing)
    with pytest.raises(UsageError, match=r"--bleu-tokenize ja-mecab needs .*pip install \"sacrebleu\[ja\]\""):
        metrics_for(task_named("europarl"), ["bleu"], "ja-mecab")
    bleu.library.cache_clear()


def test_a_tokenizer_without_bleu_is_refused():
    with pytest.raises(UsageError, match="--bleu-tokenize goes with the metric bleu, and the metrics are chrf"):
        metrics_for(task_named("europarl"), ["chrf"], "zh")


def test_runs_are_compared_by_the_tokenizer_of_their_evaluation(tmp_path, monkeypatch):
    """BLEU by sacrebleu with its tokenizer zh, 60.26 for a; 0 by 13a."""
    monkeypatch.chdir(tmp_path)
    references = ["今天天气很好。", "我喜欢吃苹果和香蕉。", "这是测试。"]
    outputs = {"a": ["今天天气真好。", "我很喜欢吃苹果和香蕉。", "这是一个测试。"], "b": references}
    write("ref.txt", plain(references))
    for name, texts in outputs.items():
        write(f"{name}.txt", plain(texts))
        words = ["--predictions", f"{name}.txt", "--references", "ref.txt", "--task", "europarl", "--json"]
        content = json.loads(ketchup("evaluate", *words, "--bleu-tokenize", "zh", "--workers", 2).stdout)
        score = content[f"runs/{name}"]["scores"]["bleu"]
        assert "tok:zh" in score["signature"]
        assert score["value"] == pytest.approx(BLEU(tokenize="zh").corpus_score(texts, [references]).score)
        assert [sentence.split()[0] for sentence in content[f"runs/{name}"]["unread"]] == ["ter"]
    done = ketchup("compare", "--a", "a", "--b", "b", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["comparisons"][0]["value_a"] == pytest.approx(60.26, abs=0.005)
    assert "tok:zh" in content["comparisons"][0]["signature"]
    assert content["unread"][0].startswith("ter finds words by spaces")
    again = json.loads(ketchup("compare", "--a", "a", "--b", "b", "--bleu-tokenize", "13a", "--json").stdout)
    assert again["comparisons"][0]["value_a"] == 0
