"""Explain every audit check: what it means, why it matters, what to do when it speaks."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.audit_answers import MAX_CAPPED, MAX_FAILED
from workbench.audit_checks import MAX_UNSCORED
from workbench.audit_health import CEILING, ENOUGH, FLOOR, MAX_GIVEN_AWAY, MAX_LEXICAL, MAX_REPEATED, MIN_SLICE
from workbench.audit_vectors import MAX_TRUNCATED, MIN_ANN_RECALL
from workbench.stats import FEW_CLUSTERS

ERROR, WARNING = ("error",), ("warning",)


@dataclass(frozen=True)
class Explanation:
    """Explain one check; `levels` are those it can have besides "ok", worst first."""

    id: str
    levels: tuple[str, ...]
    meaning: str  # one line: what is checked
    why: str
    what_to_do: str


_ALL = (
    Explanation(
        "oracle",
        ERROR,
        "a perfect ranking of the chunks reaches all evidence",
        "If even a ranking made from the gold scores below 1, the chunker lost text, the gold points beside it, or a metric is wrong: "
        "no configuration could score what it deserves.",
        "Look at the question named. Compare its evidence with the chunks of that document; with a chunker of your own, check that its "
        "chunks cover the document.",
    ),
    Explanation(
        "random",
        ERROR,
        "rankings drawn at random score what chance gives",
        "Recall of random chunks follows from their number and the gold alone. A metric that counts a whole document as found when one "
        "chunk of it is, as a public chunking evaluator does, gives random rankings several times that.",
        "Do not use the numbers. Look at the metric: spans that only touch do not overlap, and a chunk of the right document is no hit.",
    ),
    Explanation(
        "shuffled_gold",
        ("error", "warning"),
        "the hits fit their own questions' evidence better than that of other questions",
        "Scores that stay when the gold is exchanged measure something else, and gold that was shifted by one row scores like a retriever "
        "that finds nothing.",
        "Read five questions with their evidence. If they do not belong together, repair the data; if they do, this retriever finds "
        "nothing: check its model and the language.",
    ),
    Explanation(
        "monotone",
        ERROR,
        "recall, hit, MRR and evidence recall never fall as k or the budget grows",
        "More hits cannot find less. A published leaderboard shows MRR falling as k grows; a reversed ranking gives such numbers.",
        "Do not use the numbers; the metric or the order of the hits is wrong.",
    ),
    Explanation(
        "bounded",
        ERROR,
        "every score lies within 0 and 1",
        "A published tool reports nDCG 2.13 where several chunks of one document are found: it counts their gain twice.",
        "Do not use the numbers; the metric is wrong.",
    ),
    Explanation(
        "duplicate_ids",
        ERROR,
        "no chunk or question id occurs twice, and no question got a chunk twice",
        "A chunk that counts twice lifts the score, and questions that share an id overwrite each other.",
        "Give each question its own id; with a chunker or retriever of your own, return each chunk once.",
    ),
    Explanation(
        "ranks_in_order",
        ERROR,
        "hits are ranked 1, 2, 3 … by falling score",
        "Distances taken for similarities turn a ranking round, and MRR of a set without order means nothing.",
        "With a retriever of your own: a higher score is better, and ranks count from 1.",
    ),
    Explanation(
        "vectors_finite",
        ERROR,
        "every score is a number, no question lost hits to a NaN vector, and no vector is longer than 1",
        "A NaN row raises nothing and hides others: with 10 % of them, one index library finds 5 % of the good rows. The indexes here "
        "refuse NaN, zero and other non-unit vectors and end the run; this finds a retriever without that guard.",
        "Find the text whose vector is bad (often empty, or too long for a half-precision model) and embed it again.",
    ),
    Explanation(
        "roles",
        ("error", "warning"),
        "questions are embedded as queries and chunks as passages, with the prefixes that the model asks for",
        "E5, BGE and similar models lose much without their prefixes. A published framework embeds questions as passages, and another "
        "keeps the vectors of an old model under a new name. A warning: you set other prefixes yourself.",
        "Remove embedder.query_prefix and embedder.passage_prefix from the options; with an embedder of your own, apply the role.",
    ),
    Explanation(
        "leakage",
        ("error", "warning"),
        "no document asked about stands, as a copy, in another group or in another part of the split",
        "What was chosen or trained on one copy is then tested on the other. A warning: the copies are in two groups of one part, so "
        "intervals count them as independent.",
        "Give copies the same metadata `group`, or remove them; `workbench data check` lists them.",
    ),
    Explanation(
        "unscored",
        ("error", "warning"),
        f"at most {MAX_UNSCORED:.0%} of the questions lack a score",
        "A mean over the questions that happened to work is too high; a published library drops missing questions without a word. "
        "A warning: no question has evidence, so retrieval is not scored at all.",
        "Look for questions whose evidence is empty, or add a quote or offsets to them.",
    ),
    Explanation(
        "truncated",
        WARNING,
        f"the embedder reads at least {1 - MAX_TRUNCATED:.0%} of the chunks to their end",
        "Embedders cut long texts without a word; one project found that its model had read half of each chunk.",
        "Take smaller chunks, or a model with a larger window.",
    ),
    Explanation(
        "reranker_truncated",
        WARNING,
        f"the reranker reads at least {1 - MAX_TRUNCATED:.0%} of the passages to their end",
        "Question and passage share one window, and the end of the passage is what is cut: evidence there cannot raise its score.",
        "Take smaller chunks, or a reranker with a larger window.",
    ),
    Explanation(
        "language",
        WARNING,
        "embedder and reranker know the language of the documents and of the questions",
        "An English model on Korean text scores nDCG@10 0.014 where a multilingual one scores 0.752 (published).",
        "Take a model for this language: `workbench models list`.",
    ),
    Explanation(
        "few_clusters",
        WARNING,
        f"the questions come from at least {FEW_CLUSTERS} document groups",
        "Questions about one document rise and fall together, so the groups are what the intervals rest on; from few they are rough.",
        "Ask about more documents rather than more about the same.",
    ),
    Explanation(
        "saturated",
        WARNING,
        "the primary metric sees a part of the corpus only",
        "Where k or the budget holds the whole corpus, every configuration finds everything.",
        "Choose a smaller k or budget as primary metric, or add documents.",
    ),
    Explanation(
        "unresolved",
        WARNING,
        "nothing was lost while loading",
        "Rows that were skipped and quotes that were not found make the evaluation smaller, and not at random.",
        "Repair what `workbench data check` lists.",
    ),
    Explanation(
        "ann_recall",
        WARNING,
        f"an approximate index finds at least {MIN_ANN_RECALL:.0%} of what exact search finds",
        "Otherwise the index is compared, not the model: one tool searches approximately on CPUs and exactly on GPUs.",
        "Compare with index `exact`, or raise index.ef (graphs) or index.probes (lists).",
    ),
    Explanation(
        "bm25_ceiling",
        WARNING,
        f"BM25 alone does not put all evidence of more than {MAX_LEXICAL:.0%} of the questions first",
        "Questions written with the text in view repeat its words. Users ask in their own, and there embedders show what they can.",
        "Paraphrase the questions, or take some that users have asked.",
    ),
    Explanation(
        "ceiling_floor",
        WARNING,
        f"the mean of the primary metric is below {CEILING} and, but for precision, above {FLOOR} (asked of {ENOUGH} questions or more)",
        "Near 1 nothing is left to gain and near 0 nothing to compare: a tie there says nothing about other data.",
        "Near 1: harder questions, or a smaller k or budget. Near 0: check gold, language and filter before anything else.",
    ),
    Explanation(
        "duplicate_questions",
        WARNING,
        f"at most {MAX_REPEATED:.0%} of the questions repeat another (case, spacing and punctuation aside)",
        "A repeated question counts twice, and in two parts of a split it leaks. With different gold, no answer can be right for both.",
        "Merge them with all their evidence as alternatives, or set `filter` where only metadata says which document is meant.",
    ),
    Explanation(
        "answer_in_question",
        WARNING,
        f"at most {MAX_GIVEN_AWAY:.0%} of the questions contain a gold answer (those that offer a choice aside)",
        "Such a question is answered by repeating it, without any document.",
        "Rewrite the question, or take the whole fact as its answer.",
    ),
    Explanation(
        "small_slices",
        WARNING,
        f"each kind of question has at least {MIN_SLICE}",
        "The mean of a handful of questions moves by tenths with one of them, so kinds cannot be compared on it.",
        "Write more questions of that kind, or report the whole only.",
    ),
    Explanation(
        "trained_on_test",
        ERROR,
        "no model was trained on a document that is asked about",
        "A model that has read the answer looks better than it is on any other data.",
        "Evaluate on the split it was not trained on (`--split test`, with the seed of the training), or on other data.",
    ),
    Explanation(
        "answers_failed",
        ("error", "warning"),
        f"every question has an answer; more than {MAX_FAILED:.0%} without one is an error",
        "Failed calls are easily dropped, as a published cookbook does, and the mean is then over the easy questions.",
        "Read the reasons; run again, for what was answered is in the cache.",
    ),
    Explanation(
        "answers_capped",
        WARNING,
        f"at most {MAX_CAPPED:.0%} of the answers were cut by max_new_tokens",
        "A cut answer may lack what was asked for, and its score measures the cap.",
        "Raise generator.max_new_tokens, or ask for short answers.",
    ),
    Explanation(
        "contexts_shrunk",
        WARNING,
        "every context has its full budget",
        "A context cut to the generator's window has a smaller budget than that of the others, so they are not compared alike.",
        "Take a smaller answer budget, fewer shots, or a generator with a larger window.",
    ),
    Explanation(
        "shots_dropped",
        WARNING,
        "every prompt has all its shots",
        "A prompt that lost shots is another prompt.",
        "Take fewer or shorter shots, or a generator with a larger window.",
    ),
    Explanation(
        "answers_left_out",
        WARNING,
        "every question could be asked",
        "Unanswerable questions without the metadata that the filter needs are left out, so refusals rest on fewer.",
        "Give these questions the metadata, or drop the filter.",
    ),
    Explanation(
        "generator_language",
        WARNING,
        "the generator is made for the language of the data",
        "A model that was not trained on a language writes it badly, however good its context.",
        "Take a generator for this language: `workbench models list`.",
    ),
    Explanation(
        "verdicts_lost",
        ("error", "warning"),
        f"the judge gave every verdict it was asked for; more than {MAX_FAILED:.0%} of a metric lost is an error",
        "Answers without a verdict are unscored, and they need not be like the others: long or odd ones are lost first.",
        "Read the reasons. Failed requests: run again, for the verdicts given are in the cache. Unreadable replies: raise "
        "judge.max_new_tokens, or take a judge that keeps to the format.",
    ),
)
EXPLANATIONS: dict[str, Explanation] = {explanation.id: explanation for explanation in _ALL}
