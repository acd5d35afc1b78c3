"""Texts that MongoDB finds whatever their case (`stores.folding`).

Beside a field whose texts are not folded its document has another one, `mongo_commands.copy_of`, with those texts
folded, and an index of its own. A condition of equality looks at both. Documents that a process of an older version
wrote get theirs when a store begins, by the indexes, a text after the other.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from gorgond.stores.folding import copies, fold, folded
from gorgond.stores.mongo_commands import Document, copy_of, reachable

log = logging.getLogger(__name__)


def whatever_case(field: str, condition: Any) -> Iterator[Document]:
    """The conditions that mean this one of a field whose texts are found whatever their case."""
    for operator, operand in (condition if isinstance(condition, Mapping) else {"$eq": condition}).items():
        if operator not in ("$eq", "$ne", "$in"):
            yield {field: {operator: operand}}
            continue
        wanted = [*map(fold, operand)] if operator == "$in" else [fold(operand)]
        either: list[Document] = [{field: {"$in": wanted}}]
        if texts := [each for each in wanted if isinstance(each, str)]:  # null is found where there is no field
            either.append({copy_of(field): {"$in": texts}})
        yield {"$nor" if operator == "$ne" else "$or": either}


def fold_all(collection: Collection[Document], field: str) -> None:
    """Have each document's copy say what its field says, where an older version wrote it."""
    try:
        with reachable():
            spellings = defaultdict(list)
            for text in collection.distinct(field):
                if isinstance(text, str):
                    spellings[folded(text)].append(text)
            for text, spelt in spellings.items():
                if others := [each for each in spelt if each != text]:
                    new = {field: {"$in": others, "$ne": text}, copy_of(field): {"$ne": text}}
                    collection.update_many(new, {"$addToSet": {copy_of(field): text}})
            for text in collection.distinct(copy_of(field)):
                _see_those_of(collection, field, text, spellings[text])
    except OperationFailure as error:
        log.warning("%s of older documents are not found whatever their case: %s", field, error)


def _see_those_of(collection: Collection[Document], field: str, text: str, spelt: list[str]) -> None:
    """Make the copies anew that have this text, where the field seems to have none of its spellings."""
    for found in collection.find({copy_of(field): text, field: {"$nin": spelt}}, {field: 1}):
        texts = copies(found, field)
        change = {"$set": {copy_of(field): texts}} if texts else {"$unset": {copy_of(field): ""}}
        collection.update_one({"_id": found["_id"], field: found.get(field)}, change)
