"""Make conversations from questions, passages and shots with prompt templates (PROMPTS, or "file:PATH").

Text of documents and questions is untrusted. It goes into user messages and shots' answers only, is never rendered again, and cannot
form a control token (`neutralise`). It can still imitate plain text, such as "Question:" or "[2]", and it can still hold instructions: no
prompt prevents that, so nothing an answer says may be carried out.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench import registry, storage
from workbench.datatypes import Conversation, Message, Passage, Role, WorkbenchError
from workbench.prompting_template import PromptFile, read_template, render_section
from workbench.text import normalise

FOLDER = Path(__file__).parent / "prompts"
PROMPTS = {"plain": ("en", "ko"), "concise": ("en", "ko"), "cite": ("en", "ko")}  # what ships, in which languages
