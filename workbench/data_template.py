"""Write a small example data set that a user can fill with own documents and questions."""

from __future__ import annotations

from pathlib import Path

from workbench import storage
from workbench.datatypes import WorkbenchError

README = """# Your documents and questions

1. Put your documents (`.md` or `.txt`, UTF-8) into `documents/`. The lines between `---` at the top are optional:
   `title`, and `group` for documents that belong together (one policy, one product family). Documents of one group are never
   divided between tuning and confirmation.
2. Write your questions into `questions.csv` (a spreadsheet program opens it).
   - `id`: any name. Two rows with the same id are one question that needs both quotes.
   - `question`: as a real user would ask it, not in the words of the document.
   - `answer`: the short answer.
   - `document`: the file that holds the answer.
   - `quote`: the passage that proves the answer, copied exactly; it must stand only once in that document.
   - `unanswerable`: `yes` if no document answers the question; answer, document and quote then stay empty.
   - Any other column you add becomes a property to filter by.

   Or mark the passages with the mouse: `notebooks/06_annotate.ipynb` shows a document, you select what answers and write the
   question; it writes `questions.jsonl` beside this file.
3. Check it, then use `folder:` and this folder as the data set:

       workbench data check folder:THIS_FOLDER

Thirty questions over a dozen groups show large differences between settings; a hundred show middling ones.

# 내 문서와 질문

1. 문서(`.md` 또는 `.txt`, UTF-8)를 `documents/` 폴더에 넣습니다. 맨 위 `---` 사이의 줄은 생략할 수 있습니다.
   `title`은 제목이고, `group`은 함께 묶이는 문서(같은 규정, 같은 제품군)의 이름입니다. 같은 그룹의 문서는 튜닝용과 확인용으로
   나뉘지 않습니다.
2. 질문을 `questions.csv`에 적습니다(엑셀에서 바로 열립니다). 열 이름은 `질문`, `답변`, `문서`, `인용`처럼 한국어로 써도 됩니다.
   - `id`: 자유롭게 정하는 이름. 같은 id가 두 줄이면 두 인용이 모두 필요한 질문 하나입니다.
   - `question`: 문서의 표현을 베끼지 말고 실제 사용자가 묻는 말로 적습니다.
   - `answer`: 짧은 답.
   - `document`: 답이 들어 있는 파일.
   - `quote`: 답을 뒷받침하는 구절을 그대로 복사합니다. 그 문서 안에 한 번만 나와야 합니다.
   - `unanswerable`: 어느 문서에도 답이 없으면 `yes`(또는 `예`). 이때 answer, document, quote는 비워 둡니다.
   - 다른 열을 더하면 필터에 쓸 수 있는 속성이 됩니다.

   마우스로 표시할 수도 있습니다. `notebooks/06_annotate.ipynb`가 문서를 보여 주면, 답이 되는 부분을 선택하고 질문을 적습니다.
   질문은 이 파일 옆의 `questions.jsonl`에 저장됩니다.
3. 아래 명령으로 점검한 뒤 이 폴더를 `folder:` 뒤에 적어 데이터로 씁니다.

       workbench data check folder:THIS_FOLDER

그룹이 열두 개 이상이고 질문이 30개면 설정 사이의 큰 차이가, 100개면 중간 정도의 차이가 드러납니다.
"""
DOCUMENTS = {
    "documents/returns-policy.md": """---
title: Returns Policy
group: returns
---
# Returns Policy

You may send an unused item back within 14 days of delivery. Opened software and made-to-order goods are excluded.

## Refunds

We transfer the money within three working days after the parcel has reached our warehouse.
If the item was faulty, we also pay for the return parcel.
""",
    "documents/annual-leave-ko.md": """---
title: 연차휴가 안내
group: leave
---
# 연차휴가 안내

연차휴가는 사용 예정일 3일 전까지 전자결재로 신청합니다. 급한 사정이 있으면 당일 오전 9시까지 팀장에게 알리고 나중에 신청할 수 있습니다.

## 이월

쓰지 않은 연차는 다음 해 3월 말까지 최대 5일 이월됩니다. 이월한 연차도 기한이 지나면 소멸합니다.
""",
}
COLUMNS = ("id", "question", "answer", "document", "quote", "unanswerable")
QUESTIONS = (
    (
        "returns-1",
        "How long do I have to give back something I have not used?",
        "14 days",
        "documents/returns-policy.md",
        "You may send an unused item back within 14 days of delivery.",
        "",
    ),
    (
        "returns-2",
        "My order arrived broken: who covers shipping it back, and when do I see my money?",
        "the shop pays; within three working days",
        "documents/returns-policy.md",
        "If the item was faulty, we also pay for the return parcel.",
        "",
    ),
    (
        "returns-2",
        "",
        "",
        "documents/returns-policy.md",
        "We transfer the money within three working days after the parcel has reached our warehouse.",
        "",
    ),
    ("returns-3", "Can I exchange a gift card for cash?", "", "", "", "yes"),
    (
        "leave-1",
        "휴가 쓰려면 며칠 전에 올려야 하나요?",
        "3일 전",
        "documents/annual-leave-ko.md",
        "연차휴가는 사용 예정일 3일 전까지 전자결재로 신청합니다.",
        "",
    ),
    (
        "leave-2",
        "올해 남은 휴가를 내년에 며칠까지 쓸 수 있어요?",
        "5일",
        "documents/annual-leave-ko.md",
        "쓰지 않은 연차는 다음 해 3월 말까지 최대 5일 이월됩니다.",
        "",
    ),
)


def write_template(folder: Path) -> Path:
    """Write the example into a new or empty folder and return it; `folder:FOLDER` and `table:FOLDER/questions.csv` load it.

    Raise WorkbenchError when the folder holds anything.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WorkbenchError(f"{folder} is not an empty folder; name a new one")
    storage.write_text(folder / "README.md", README)
    for name, text in DOCUMENTS.items():
        storage.write_text(folder / name, text)
    storage.write_csv(folder / "questions.csv", COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in QUESTIONS])
    return folder
