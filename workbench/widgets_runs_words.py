"""What the run browser says, in English and in Korean."""

from __future__ import annotations

from workbench.ledger_rows import STATES
from workbench.report import MAX_LOST, Comparison
from workbench.widgets_language import words

SIGNS = dict(zip(STATES, "○▶✓✗!", strict=True))
WORDS = {
    "queued": ("queued", "대기"),
    "running": ("running", "실행 중"),
    "ok": ("ok", "완료"),
    "failed": ("failed", "실패"),
    "lost": ("lost", "중단됨"),
    "all states": ("all states", "모든 상태"),
    # controls
    "sweep": ("sweep", "스윕"),
    "data set": ("data set", "데이터"),
    "refresh": ("Refresh", "새로고침"),
    "sweeps": ("Sweeps", "스윕 목록"),
    "runs": ("Runs", "실행"),
    "results": ("Results", "결과"),
    "pairs": ("Question by question", "질문별 비교"),
    "costs": ("Score and cost", "점수와 비용"),
    "filter": ("filter", "필터"),
    "filter hint": ("words of a name, a label, an error or a question", "이름, 설정, 오류, 질문에 있는 말"),
    "state": ("state", "상태"),
    "cost": ("cost", "비용"),
    "previous": ("Previous", "이전"),
    "next": ("Next", "다음"),
    "range": ("{first:,}–{last:,} of {total:,}", "{total:,}개 중 {first:,}–{last:,}"),
    "nothing fits": ("Nothing fits the filter.", "필터에 맞는 것이 없습니다."),
    "compare as A": ("Compare as A", "A로 비교"),
    "compare as B": ("Compare as B", "B로 비교"),
    "open": ("Open: {label}", "열기: {label}"),
    # sweeps
    "no sweep": (
        "No sweep has run here yet. `workbench sweep params/NAME.sweep.yaml` starts one; then press Refresh.",
        "아직 실행한 스윕이 없습니다. `workbench sweep params/NAME.sweep.yaml`로 시작한 뒤 새로고침을 누르십시오.",
    ),
    "progress": ("{done:,} of {total:,} runs ended", "실행 {total:,}개 중 {done:,}개 끝남"),
    "live": ("under way, updated every second", "진행 중, 1초마다 갱신"),
    "still": ("nothing runs now", "지금 실행 중인 것이 없음"),
    "changed": ("last change {when}", "마지막 변경 {when}"),
    "and more": ("and {count:,} more", "외 {count:,}개"),
    "ledger": ("The ledger cannot be read: {problem}", "실행 기록을 읽을 수 없습니다: {problem}"),
    "best": ("best", "최고"),
    "best of": ("best of {count:,}", "{count:,}개 중 최고"),
    "no report": ("no report yet", "아직 보고서 없음"),
    "tied count": ("{count:,} more cannot be told from it", "{count:,}개와는 구별되지 않음"),
    "attempt": ("attempt {count}", "시도 {count}회째"),
    # results
    "reading": ("Reading results: {done:,} of {total:,} …", "결과 읽는 중: {total:,}개 중 {done:,}개 …"),
    "comparing": ("Comparing …", "비교하는 중 …"),
    "no result": ("No run of this sweep has ended well yet.", "이 스윕에는 아직 정상 완료된 실행이 없습니다."),
    "unread": ("{count} results cannot be read; the first: {problem}", "결과 {count}개를 읽을 수 없습니다. 첫 번째: {problem}"),
    "tied": ("tied with the best", "최고와 구별 안 됨"),
    "worse": ("lower", "최고보다 낮음"),
    "untold": ("not compared", "비교하지 않음"),
    "baseline": ("baseline", "기준"),
    "control": ("control", "대조군"),
    "scored": (
        "{metric}, {questions:,} questions in {groups:,} document groups; mean [95 % interval]",
        "{metric}, 질문 {questions:,}개(문서 그룹 {groups:,}개), 평균 [95% 구간]",
    ),
    "head lost": ("No verdict: too many questions have no score", "판정 없음: 점수가 없는 질문이 너무 많습니다"),
    "head one": ("One candidate: nothing to compare", "후보가 하나라 비교할 것이 없습니다"),
    "head group": ("One document group: no difference can be shown", "문서 그룹이 하나라 차이를 보일 수 없습니다"),
    "head none": ("No difference shown between the candidates", "후보 사이에 확인된 차이가 없습니다"),
    "head tied": (
        "{best} scores highest, but {count:,} others cannot be told from it",
        "{best}: 점수가 가장 높지만 다른 {count:,}개와 구별되지 않습니다",
    ),
    "head untold": (
        "{best} scores highest; {count:,} lower ones are too close to tell",
        "{best}: 점수가 가장 높지만, 더 낮은 {count:,}개와는 차이가 작아 판정할 수 없습니다",
    ),
    "head best": ("{best} is better than every other candidate", "{best}: 다른 모든 후보보다 낫습니다"),
    # one run
    "nothing open": ("Choose a run or a configuration to see it here.", "실행이나 설정을 고르면 여기에 표시됩니다."),
    "notebook": ("Executed notebook", "실행된 노트북"),
    "report": ("Report", "보고서"),
    "folder": ("folder", "폴더"),
    "no notebook": (
        "No executed notebook: this run was evaluated without one.",
        "실행된 노트북이 없습니다. 노트북 없이 평가한 실행입니다.",
    ),
    "took": ("{seconds} s", "{seconds}초"),
    "difference": ("against the baseline {label}", "기준 {label} 대비"),
    "adjusted p": ("adjusted p", "보정 p"),
    "metric": ("metric", "지표"),
    "score": ("score [95 %]", "점수 [95%]"),
    "audit": ("audit", "점검"),
    "all metrics": ("All metrics", "모든 지표"),
    "error": ("Error", "오류"),
    "contains": ("results of this run", "이 실행의 결과"),
    # two configurations
    "choose two": ("Choose two different configurations.", "서로 다른 설정 두 개를 고르십시오."),
    "swap": ("Swap", "서로 바꾸기"),
    "which": ("questions", "질문"),
    "differ": ("that differ", "점수가 다른 질문"),
    "A wins": ("where A wins", "A가 이긴 질문"),
    "B wins": ("where B wins", "B가 이긴 질문"),
    "all": ("all", "전체"),
    "tally": ("A wins {wins:,}, B wins {losses:,}, equal {ties:,}", "A 승 {wins:,}, B 승 {losses:,}, 같음 {ties:,}"),
    "mean difference": ("mean difference A − B", "평균 차이 A − B"),
    "unknown": ("unknown: no question was scored by both", "알 수 없음: 둘 다 점수가 있는 질문이 없습니다"),
    "picked": (
        "The leaderboard corrects for the number of candidates; this interval is of this one pair.",
        "순위표는 후보 수를 보정하지만, 이 구간은 이 한 쌍만 본 것입니다.",
    ),
    "left out": ("{share} of the questions are left out: one side has no score", "질문의 {share}는 한쪽에 점수가 없어 제외했습니다"),
    "won": ("{side} wins", "{side} 승"),
    "equal": ("equal", "같음"),
    "gold": ("Gold answer:", "정답:"),
    "no text": (
        "(the text of this question is not recorded, and its data set is not as it was)",
        "(질문의 원문이 기록에 없고 데이터도 그때와 다릅니다)",
    ),
    "answered": ("Answer:", "답변:"),
    "no answer": ("(empty)", "(비어 있음)"),
    "refused": ("refused", "답변 거절"),
    "cause": ("Cause:", "원인:"),
    "hit": ("Hit {rank}:", "검색 {rank}위:"),
    "passage": ("Passage {rank}:", "참고 구절 {rank}:"),
    "only score": ("Only the score was recorded.", "점수만 기록되어 있습니다."),
    "retrieve": ("Retrieve again for both", "두 설정으로 다시 검색"),
    "searching": (
        "Retrieving … The first time reads the documents and builds both indexes.",
        "검색하는 중 … 처음에는 문서를 읽고 두 색인을 만들어야 합니다.",
    ),
    "other data": (
        "the data set {dataset} is not what these runs were evaluated on any more, so nothing is retrieved from it; run the sweep again",
        "데이터 {dataset}이(가) 이 실행들을 평가한 때와 달라 검색하지 않습니다. 스윕을 다시 실행하십시오",
    ),
    "no_chunk": ("no chunk holds the whole evidence", "근거 전체를 담은 청크가 없음"),
    "not_retrieved": ("evidence not retrieved", "근거를 검색하지 못함"),
    "cut": ("evidence cut apart", "근거가 잘림"),
    "below_budget": ("evidence beyond the context budget", "근거가 컨텍스트 한도 밖"),
    "not_used": ("evidence in the context, answer wrong", "근거는 컨텍스트에 있으나 답이 틀림"),
    "outside_context": ("answer not grounded in the context", "컨텍스트에 근거하지 않은 답변"),
    "wrongly_refused": ("refused although answerable", "답할 수 있는데 거절"),
    "answered_unanswerable": ("answered the unanswerable", "답할 수 없는 질문에 답변"),
    "failed_answer": ("the generator failed", "생성기 오류"),
    "fine": ("nothing was lost", "문제 없음"),
    # score and cost
    "no cost": (
        "Nothing to draw: fewer than two configurations differ in a cost that is known.",
        "그릴 것이 없습니다. 알려진 비용이 다른 설정이 둘 이상 필요합니다.",
    ),
    "plot": (
        "{metric} against {cost}, {drawn:,} of {total:,} configurations. Arrow keys move from point to point, Enter opens one.",
        "{metric} 대 {cost}, 설정 {total:,}개 중 {drawn:,}개. 화살표 키로 점 사이를 이동하고 Enter로 엽니다.",
    ),
    "log": ("{cost} (log scale)", "{cost} (로그 눈금)"),
    "tokens a question": ("tokens a question", "질문당 토큰"),
    "ms a query": ("ms a query", "질의당 ms"),
    "chunks": ("chunks", "청크 수"),
    "index MB": ("index MB", "색인 MB"),
    "so many tokens a question": ("{value} tokens a question", "질문당 {value}토큰"),
    "so many ms a query": ("{value} ms a query", "질의당 {value} ms"),
    "so many chunks": ("{value} chunks", "청크 {value}개"),
    "so many index MB": ("index {value} MB", "색인 {value} MB"),
    "a control": ("hollow: control", "속이 빈 점: 대조군"),
    "the baseline": ("dashed ring: baseline", "점선 고리: 기준"),
    "steps": ("steps: nothing beats these on both", "계단선: 점수와 비용 모두에서 더 나은 것이 없는 설정"),
    "front": ("nothing beats it on both", "점수와 비용 모두에서 더 나은 것이 없음"),
    "no anywidget": (
        "The points cannot be clicked, because the package anywidget is not installed (pip install 'rag-workbench[lab]').",
        "anywidget 패키지가 없어 점을 누를 수 없습니다(pip install 'rag-workbench[lab]').",
    ),
}
say = words(WORDS)


def headline(comparison: Comparison) -> str:
    """Return the verdict of a comparison in one line, as `report_words.headline` does for reports."""
    rows = comparison.rows
    best, tied = rows[0].label, sum(row.tied and not row.best for row in rows)
    if comparison.lost > MAX_LOST:
        return say("head lost")
    if len(rows) == 1:
        return say("head one")
    if comparison.clusters < 2:
        return say("head group")
    if tied == len(rows) - 1:
        return say("head none")
    if tied:
        return say("head tied", best=best, count=tied)
    if untold := sum(not row.compared for row in rows):
        return say("head untold", best=best, count=untold)
    return say("head best", best=best)
