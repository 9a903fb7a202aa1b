"""Every format: files as the tools write them are understood, what was written comes back, bad files are told by line."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeling.errors import RowError
from labeling.formats import catalogue
from labeling.formats.jsonl import LINE_LIMIT
from labeling.formats.shapes import Options, Unit

SCALES = {"sentiment": "ordinal", "stars": "interval", "tone": "multilabel", "nugget": "nominal", "csat": "ordinal"}


def read(body: str | bytes, name: str, kind: str, *, file: str = "x.json", **options: Any) -> list[Any]:
    raw = body.encode() if isinstance(body, str) else body
    said = Options(name=file, scales=SCALES, **options)
    return list(catalogue.read(io.BytesIO(raw), format=catalogue.FORMATS[name], kind=kind, options=said))


def rows(body: str | bytes, name: str, kind: str, **options: Any) -> list[dict[str, Any]]:
    found = read(body, name, kind, **options)
    assert [one for one in found if isinstance(one, RowError)] == []
    return [one.data for one in found]


def plain(row: dict[str, Any]) -> str:
    """A row as it is compared: what is empty is left out, a whole conversation has no turn."""
    kept = {name: value for name, value in row.items() if value not in (None, "", {}, []) or name == "value"}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)


# --- files as their tools write them -------------------------------------------------------------------------------

STUDIO = json.dumps(
    [
        {
            "id": 7,
            "data": {"dialogue": [{"author": "Jerry", "text": "My invoice is wrong"}, {"author": "Helpdesk", "text": "Let me look"}]},
            "annotations": [
                {
                    "completed_by": {"id": 10, "email": "ann@example.org"}, "was_cancelled": False, "lead_time": 4.2,
                    "created_at": "2026-03-02T09:15:00.000000Z",
                    "result": [
                        {"from_name": "sentiment", "to_name": "dialogue", "type": "choices", "value": {"choices": ["negative"]}},
                        {"from_name": "csat", "to_name": "dialogue", "type": "rating", "value": {"rating": 4}},
                        {"from_name": "stars", "to_name": "dialogue", "type": "number", "value": {"number": 2.5}},
                        {"from_name": "tone", "to_name": "dialogue", "type": "taxonomy", "value": {"taxonomy": [["bad", "anger"]]}},
                        {"from_name": "nugget", "to_name": "dialogue", "type": "paragraphlabels",
                         "value": {"start": "1", "end": 1, "startOffset": 0, "endOffset": 2, "paragraphlabels": ["plea"]}},
                    ],
                },
                {"completed_by": 11, "was_cancelled": True, "result": []},
            ],
            "predictions": [{"model_version": "judge@m1", "score": 0.95, "result": [
                {"from_name": "sentiment", "type": "choices", "value": {"choices": ["neutral"]}}]}],
        }
    ]
)  # fmt: skip


def test_label_studio_tasks_as_exported() -> None:
    [conversation] = rows(STUDIO, "label-studio", "conversations")
    assert conversation["id"] == "7"
    assert [(turn["role"], turn["text"]) for turn in conversation["turns"]] == [
        ("customer", "My invoice is wrong"), ("agent", "Let me look")]  # fmt: skip
    assert conversation["turns"][0]["speaker"] == "Jerry"
    labels = rows(STUDIO, "label-studio", "labels")
    assert [(row["signal"], row["turn"], row["value"]) for row in labels] == [
        ("sentiment", None, "negative"), ("csat", None, "4"), ("stars", None, 2.5), ("tone", None, ["anger"]), ("nugget", 1, "plea"),
    ]  # fmt: skip
    assert {row["annotator"] for row in labels} == {"ann@example.org"}, "what was skipped is no label"
    [said] = rows(STUDIO, "label-studio", "predictions")
    assert (said["classifier"], said["version"], said["score"], said["value"]) == ("judge", "m1", 0.95, "neutral")


def test_label_studio_fields_under_other_names() -> None:
    task = json.dumps({"data": {"key": 5, "dialogue": [{"who": "bot", "says": "Hello"}]}})
    [found] = rows(task, "label-studio", "conversations", renamed={"author": "who", "text": "says", "id": "data.key"})
    assert (found["id"], found["turns"]) == ("5", [{"role": "agent", "text": "Hello"}])


def test_a_doccano_line_without_an_id_gets_one_of_its_text() -> None:
    plain = '{"text": "thank you", "label": ["positive"]}'
    [read_once] = rows(plain, "doccano", "conversations")
    [label] = rows(plain, "doccano", "labels", given={"signal": "sentiment", "annotator": "ann"})
    [other] = rows('{"text": "thanks", "label": ["positive"]}', "doccano", "conversations")
    assert read_once["id"] == label["conversation"] != other["id"]
    assert (label["value"], len(read_once["id"])) == ("positive", 16)


def test_doccano_lines_need_what_was_asked() -> None:
    line = '{"id": 3, "text": "Great", "label": ["positive"], "Comments": ["sure"], "language": "en"}\n'
    assert rows(line, "doccano", "conversations") == [
        {"id": "3", "turns": [{"role": "customer", "text": "Great"}], "metadata": {"language": "en"}}]  # fmt: skip
    [error] = read(line, "doccano", "labels")
    assert (error.line, error.field) == (1, "signal")
    [label] = rows(line, "doccano", "labels", given={"signal": "sentiment", "annotator": "ann"})
    assert (label["value"], label["annotator"], label["comment"]) == ("positive", "ann", "sure")
    [two] = read('{"id": 3, "text": "x", "label": ["a", "b"]}', "doccano", "labels", given={"signal": "sentiment"})
    assert "has 2 values" in two.message


@pytest.mark.parametrize("flat", [True, False])
def test_argilla_records_flat_and_nested(flat: bool) -> None:
    nested = {
        "id": "r-1", "status": "completed", "_server_id": "u", "fields": {"text": "My invoice"}, "metadata": {"shop": "a"},
        "suggestions": {"sentiment": {"value": "negative", "score": 0.9, "agent": "judge@m1"}},
        "responses": {"sentiment": [{"value": "neutral", "user_id": "u-1"}]}, "vectors": {},
    }  # fmt: skip
    record = {
        "id": "r-1", "status": "completed", "_server_id": "u", "text": "My invoice", "shop": "a",
        "sentiment.responses": ["neutral", "positive"], "sentiment.responses.users": ["u-1", "u-2"],
        "sentiment.responses.status": ["submitted", "draft"], "sentiment.suggestion": "negative",
        "sentiment.suggestion.score": 0.9, "sentiment.suggestion.agent": "judge@m1",
    } if flat else nested  # fmt: skip
    body = json.dumps([record])
    [label] = rows(body, "argilla", "labels")
    assert (label["annotator"], label["value"]) == ("u-1", "neutral"), "a draft is no label"
    [said] = rows(body, "argilla", "predictions")
    assert (said["classifier"], said["version"], said["value"], said["score"]) == ("judge", "m1", "negative", 0.9)
    [conversation] = rows(body, "argilla", "conversations", renamed={} if not flat else {"text": "text"})
    assert {"role": "customer", "text": "My invoice"} in conversation["turns"]


def test_openai_lines_have_the_same_id_every_time() -> None:
    line = '{"messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": null, "tool_calls": [{"id": "1"}]}]}\n'
    [one], [two] = (
        rows(line, "openai-chat", "conversations"),
        rows(line, "openai-chat", "conversations", file="y.jsonl"),
    )
    assert one["id"] == two["id"]
    assert [(turn["role"], turn["text"]) for turn in one["turns"]] == [
        ("system", "Be kind"),
        ("customer", "Hi"),
        ("agent", ""),
    ]
    assert one["turns"][2]["tool_calls"] == [{"id": "1"}]


def test_langfuse_traces_of_a_session_are_one_conversation() -> None:
    history = [{"role": "user", "content": "Hi"}]
    traces = [
        {"id": "t2", "timestamp": "2026-03-02T09:16:00Z", "sessionId": "s-1", "userId": "cu-9", "tags": ["channel:chat"],
         "input": [*history, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Bye"}], "output": "So long",
         "scores": [{"id": "x", "name": "sentiment", "stringValue": "negative", "dataType": "CATEGORICAL", "source": "ANNOTATION",
                     "authorUserId": "u-1", "comment": "angry", "timestamp": "2026-03-03T00:00:00Z"},
                    {"id": "y", "name": "stars", "value": 4, "dataType": "NUMERIC", "source": "EVAL", "comment": "why"}]},
        {"id": "t1", "timestamp": "2026-03-02T09:15:00Z", "sessionId": "s-1", "input": {"messages": history},
         "output": {"role": "assistant", "content": "Hello"}},
    ]  # fmt: skip
    body = json.dumps({"data": traces, "meta": {"page": 1}})
    [found] = rows(body, "langfuse", "conversations")
    assert (found["id"], found["customer"], found["channel"]) == ("s-1", "cu-9", "chat")
    assert [turn["text"] for turn in found["turns"]] == ["Hi", "Hello", "Bye", "So long"]
    [label] = rows(body, "langfuse", "labels")
    assert (label["conversation"], label["annotator"], label["value"], label["comment"]) == (
        "s-1",
        "u-1",
        "negative",
        "angry",
    )
    [said] = rows(body, "langfuse", "predictions")
    assert (said["classifier"], said["version"], said["value"], said["rationale"]) == ("stars", "unpinned", 4, "why")
    snake = json.dumps({"id": "z", "trace_id": "t1", "session_id": "s-1", "name": "sentiment", "string_value": "neutral",
                        "data_type": "CATEGORICAL", "source": "ANNOTATION"})  # fmt: skip
    assert rows(snake, "langfuse", "labels")[0]["value"] == "neutral"


PHOENIX = [
    {"context.span_id": "00000000000000a1", "context.trace_id": "0000000000000000000000000000000b", "name": "llm", "span_kind": "LLM",
     "start_time": "2026-03-02 09:15:00.250000+00:00", "end_time": "2026-03-02 09:15:01+00:00", "status_code": "OK",
     "attributes.session.id": "s-1", "attributes.metadata": {"channel": "chat", "cohort": "trial"},
     "attributes.llm.input_messages": [{"message.role": "user", "message.content": "Hi"}],
     "attributes.llm.output_messages": [{"message.role": "assistant", "message.content": "Hello"}]},
]  # fmt: skip


@pytest.mark.parametrize("parquet", [True, False])
def test_phoenix_frames_in_lines_and_parquet(parquet: bool) -> None:
    body = "".join(json.dumps(row) + "\n" for row in PHOENIX).encode()
    if parquet:
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(PHOENIX), sink)
        body = sink.getvalue()
    [found] = rows(body, "phoenix", "conversations")
    assert (found["id"], found["channel"], found["cohort"]) == ("unknown:s-1", "chat", "trial")
    assert [(turn["role"], turn["text"]) for turn in found["turns"]] == [("customer", "Hi"), ("agent", "Hello")]
    assert catalogue.guess(body, "spans") == ("phoenix", "conversations")


def test_phoenix_annotations_are_labels_or_predictions() -> None:
    body = "".join(
        json.dumps({"span_id": "a1", "name": "sentiment", "annotator_kind": kind, "identifier": by,
                    "result": {"label": "negative", "score": 0.2, "explanation": "why"}}) + "\n"
        for kind, by in (("HUMAN", "ann"), ("LLM", "judge@m1"))
    )  # fmt: skip
    [label] = rows(body, "phoenix", "labels", whose={"a1": "c-1"}.__getitem__)
    assert (label["conversation"], label["annotator"], label["comment"]) == ("c-1", "ann", "why")
    [said] = rows(body, "phoenix", "predictions")
    assert (said["classifier"], said["version"], said["score"], said["rationale"]) == ("judge", "m1", 0.2, "why")


def test_spans_as_the_console_exporter_and_otlp_json_have_them() -> None:
    console = {"name": "llm", "context": {"trace_id": "0x" + "0" * 31 + "b", "span_id": "0x" + "0" * 15 + "a"}, "parent_id": None,
               "start_time": "2026-03-02T09:15:00Z", "end_time": "2026-03-02T09:15:01Z", "status": {"status_code": "OK"},
               "attributes": {"input.value": "Hi", "output.value": "Hello", "openinference.span.kind": "LLM"},
               "resource": {"attributes": {"service.name": "shop"}}}  # fmt: skip
    [found] = rows(json.dumps(console, indent=2), "openinference", "conversations")
    assert found["id"] == "shop:" + "0" * 31 + "b"
    pair = {"key": "gen_ai.evaluation.name", "value": {"stringValue": "Sentiment"}}
    label = {"key": "gen_ai.evaluation.score.label", "value": {"stringValue": "negative"}}
    otlp = {"resourceSpans": [{"scopeSpans": [{"spans": [
        {"traceId": "0" * 31 + "b", "spanId": "0" * 15 + "c", "name": "e", "attributes": [pair, label]}]}]}]}  # fmt: skip
    [said] = rows(json.dumps(otlp), "openinference", "predictions")
    assert (said["classifier"], said["version"], said["signal"], said["value"]) == (
        "sentiment",
        "unpinned",
        "sentiment",
        "negative",
    )


WHISPERX = {"segments": [
    {"start": 0.1, "end": 1.2, "text": " Bank, hello.", "speaker": "SPEAKER_01",
     "words": [{"word": "Bank,", "start": 0.1, "end": 0.4, "score": 0.91}, {"word": "2020"}]},
    {"start": 1.5, "end": 2.0, "text": " My card.", "speaker": "SPEAKER_00"}], "word_segments": [], "language": "en"}  # fmt: skip


def test_whisperx_words_have_confidence_and_speakers_roles() -> None:
    [found] = rows(json.dumps(WHISPERX, indent=1), "whisper", "conversations", file="calls/a-1.json")
    assert (found["id"], found["channel"], found["attributes"]) == ("a-1", "voice", {"language": "en"})
    first, second = found["turns"]
    assert (first["role"], second["role"]) == ("agent", "customer"), "who answers a call speaks first"
    assert first["words"] == [{"word": "Bank,", "start": 0.1, "end": 0.4, "confidence": 0.91}, {"word": "2020"}]
    assert found["asr"]["hypothesis"] == "Bank, hello.\nMy card."
    [other] = rows(json.dumps(WHISPERX), "whisper", "conversations", given={"customers": "SPEAKER_01"})
    assert [turn["role"] for turn in other["turns"]] == ["customer", "agent"]
    cpp = {"result": {"language": "en"}, "transcription": [{"offsets": {"from": 100, "to": 1200}, "text": " Hi"}]}
    [third] = rows(json.dumps(cpp), "whisper", "conversations")
    assert (third["turns"][0]["start"], third["turns"][0]["end"]) == (0.1, 1.2)


VTT = "WEBVTT\n\nNOTE made by hand\n\n1\n00:00:01.000 --> 00:00:02.500\n<v Agent>Hello &amp; welcome\n\n00:03.000 --> 00:04.000\n<v.loud Bob Smith>Hi</v> there\nsecond line\n"
SUBRIP = (
    "1\r\n00:00:01,000 --> 00:00:02,500\r\nAgent: Hello\r\n\r\n2\r\n00:00:03,000 --> 00:00:04,000\r\nBob: <i>Hi</i>\r\n"
)


def test_captions_have_voices_and_entities() -> None:
    [found] = rows(VTT, "webvtt", "conversations", file="call.vtt")
    assert found["id"] == "call"
    assert found["turns"] == [
        {"role": "agent", "text": "Hello & welcome", "start": 1.0, "end": 2.5},
        {"role": "agent", "text": "Hi there\nsecond line", "start": 3.0, "end": 4.0, "speaker": "Bob Smith"},
    ]
    [other] = rows(VTT, "webvtt", "conversations", file="call.vtt", given={"customers": "Bob Smith"})
    assert other["turns"][1]["role"] == "customer"
    [srt] = rows(SUBRIP, "srt", "conversations", file="call.srt")
    assert [(turn["text"], turn.get("speaker")) for turn in srt["turns"]] == [("Hello", None), ("Hi", "Bob")]


def test_an_archive_is_a_file_each_and_errors_name_theirs() -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("calls/a.vtt", VTT)
        archive.writestr("calls/b.vtt", "WEBVTT\n\n00:00:01.000 -> broken\n")
        archive.writestr("calls/c.vtt", "no captions")
    found = read(sink.getvalue(), "webvtt", "conversations")
    assert found[0].data["id"] == "a"
    assert [one.message.split(":")[0] for one in found[1:]] == ["calls/b.vtt", "calls/c.vtt"]


def test_simulation_reports_of_both_kits() -> None:
    persona = {"persona": {"name": "Jo"}, "situation": "wrong invoice", "outcome": "refund"}
    old = {"results": [{"persona": persona, "transcript": "assistant: My invoice is wrong\nuser: Let me look\nat it",
                        "evaluation": {"sentiment": {"output": "negative", "reason": "why", "score": None}, "csat": {"error": "down"}},
                        "audio_combined_path": "/tmp/a.wav"}]}  # fmt: skip
    [found] = rows(json.dumps(old, indent=2), "simulation", "conversations", file="run7.json")
    assert (found["id"], found["customer"], found["channel"]) == ("run7-1", "Jo", "voice")
    assert [(turn["role"], turn["text"]) for turn in found["turns"]] == [
        ("customer", "My invoice is wrong"), ("agent", "Let me look\nat it")], "the simulated customer is the assistant there"  # fmt: skip
    said = rows(json.dumps(old), "simulation", "predictions", given={"version": "m1"}, file="run7.json")
    assert [(row["classifier"], row["version"], row["value"], row.get("status")) for row in said] == [
        ("sentiment", "m1", "negative", None), ("csat", "m1", None, "error")]  # fmt: skip
    case = {"test_case_id": "tc-1", "status": "completed", "persona": persona, "started_at": "2026-03-02T09:15:00Z",
            "result": {"persona": persona, "transcript": "", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]}}  # fmt: skip
    new = {
        "schema_version": "futureagi.simulation-report.v1",
        "test_cases": [case, {"test_case_id": "tc-2", "status": "failed", "result": None}],
    }
    one, failed = read(json.dumps(new), "simulation", "conversations")
    assert (one.data["id"], [turn["role"] for turn in one.data["turns"]]) == ("tc-1", ["customer", "agent"])
    assert (failed.line, failed.field) == (2, "result")


def test_tables_are_mapped_and_typed() -> None:
    body = 'conv,sig,who,answer,when\r\nc-1,tone,ann,joy|anger,2026-03-02\r\n"c\n2",stars,ann,2.5,\r\nc-3,csat\r\n'
    names = {"conversation": "conv", "signal": "sig", "annotator": "who", "value": "answer"}
    one, two, error = read(body, "csv", "labels", renamed=names)
    assert (one.data["value"], two.data["value"], two.data["conversation"], two.line) == (
        ["joy", "anger"],
        2.5,
        "c\n2",
        3,
    )
    assert (error.line, error.message) == (5, "has 2 cells, the header has 5")
    [missing] = read(body, "csv", "labels", renamed={"value": "grade"})
    assert (missing.line, missing.field) == (1, "grade")
    turns = "id,channel,speaker,text\nc-1,chat,user,Hi\nc-1,chat,bot,Hello\nc-2,chat,user,Ho\nc-1,chat,user,late\n"
    found = read(turns, "csv", "conversations")
    assert [len(one.data["turns"]) for one in found[:1]] == [2]
    assert [one.field for one in found if isinstance(one, RowError)] == ["id"]


# --- what was written comes back -----------------------------------------------------------------------------------

CONVERSATION = {
    "id": "zendesk/1#ü", "source": "zendesk", "channel": "voice", "cohort": "enterprise", "customer": "cu-9",
    "started_at": "2026-03-02T09:15:00Z", "attributes": {"language": "de"}, "summary": "an --> invoice", "audio": "https://x/a.wav",
    "asr": {"reference": "a\n\nb", "hypothesis": "a", "provider": "x@1"}, "metadata": {"deep": {"list": [1, None, "=1+1"]}},
    "turns": [
        {"role": "customer", "text": "Wrong <b>&amp; --> late\n\nagain", "at": "2026-03-02T09:15:04Z", "start": 4.123456, "end": 6.0},
        {"role": "agent", "text": "", "words": [{"word": "a", "confidence": 0.5}], "speaker": "Bo"},
        {"role": "tool", "text": "=cmd|' /C calc'", "name": "lookup"}, {"role": "system", "text": "🙂 مرحبا"},
    ],
}  # fmt: skip
LABELS = [
    {"conversation": CONVERSATION["id"], "turn": None, "signal": "sentiment", "annotator": "ann", "value": "negative",
     "at": "2026-03-02T10:00:00Z", "seconds": 4.2, "comment": "so, \"angry\"", "confidence": 0.5, "metadata": {"queue": "a"}},
    {"conversation": CONVERSATION["id"], "turn": None, "signal": "tone", "annotator": "ann", "value": ["joy"]},
    {"conversation": CONVERSATION["id"], "turn": None, "signal": "stars", "annotator": "bob", "value": 2.5},
    {"conversation": CONVERSATION["id"], "turn": None, "signal": "sentiment", "annotator": "bob", "value": "neutral"},
    {"conversation": CONVERSATION["id"], "turn": 1, "signal": "nugget", "annotator": "ann", "value": "plea", "seconds": 1.0},
]  # fmt: skip
PREDICTIONS = [
    {"conversation": CONVERSATION["id"], "turn": None, "classifier": "judge", "version": version, "signal": "sentiment",
     "value": "negative", "probabilities": {"negative": 0.8, "neutral": 0.2}, "score": 0.8, "rationale": "because\nof this",
     "seconds": 1.5, "cost": 0.01, "at": "2026-03-02T10:00:00Z", "metadata": {"run": 1}}
    for version in ("m1", "m2")
] + [{"conversation": CONVERSATION["id"], "turn": None, "classifier": "tones", "version": "v1", "signal": "tone", "value": ["joy", "anger"]}]  # fmt: skip
UNITS = {
    "conversations": [Unit(CONVERSATION)], "labels": [Unit(CONVERSATION, labels=LABELS)],
    "predictions": [Unit(CONVERSATION, predictions=PREDICTIONS)],
}  # fmt: skip
GIVEN = {"conversations": [CONVERSATION], "labels": LABELS, "predictions": PREDICTIONS}
LOSSLESS = [
    (name, kind) for name, one in catalogue.FORMATS.items() for kind in one.writes if kind in one.reads and (name, kind) != ("srt", "conversations")
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), LOSSLESS)
def test_what_was_written_comes_back(name: str, kind: str) -> None:
    format = catalogue.FORMATS[name]
    body = b"".join(format.writes[kind](UNITS[kind], kind))
    found = rows(body, name, kind, file=f"x.{format.ending}")
    assert sorted(map(plain, found)) == sorted(map(plain, GIVEN[kind]))
    assert b"".join(format.writes[kind](UNITS[kind], kind)) == body, "equal rows give equal bytes"


def test_srt_keeps_id_roles_words_and_times() -> None:
    body = b"".join(catalogue.FORMATS["srt"].writes["conversations"](UNITS["conversations"], "conversations"))
    [found] = rows(body, "srt", "conversations")
    assert found["id"] == CONVERSATION["id"]
    assert [turn["role"] for turn in found["turns"]] == ["customer", "agent", "tool", "system"]
    assert found["turns"][0]["start"] == 4.123


def test_openai_examples_end_with_the_right_answer() -> None:
    body = b"".join(catalogue.FORMATS["openai-chat"].writes["labels"](UNITS["labels"], "labels")).decode()
    examples = [json.loads(line) for line in body.splitlines()]
    assert [one["messages"][-1]["content"] for one in examples] == ["negative", '["joy"]', "2.5", "neutral", "plea"]
    assert all(len(value) <= 512 for one in examples for value in one["metadata"].values())
    assert examples[-1]["messages"][1]["content"].endswith("Judge the last turn.")


# --- bad files -----------------------------------------------------------------------------------------------------

JSON_LINES = [name for name in catalogue.FORMATS if name not in ("csv", "webvtt", "srt", "whisper")]


@pytest.mark.parametrize("name", list(catalogue.FORMATS))
@pytest.mark.parametrize("kind", ["conversations", "labels", "predictions"])
def test_truncated_and_wrongly_encoded_files_are_told(name: str, kind: str) -> None:
    format = catalogue.FORMATS[name]
    if kind not in format.reads or kind not in format.writes:
        pytest.skip("not in this format")
    body = b"".join(format.writes[kind](UNITS[kind], kind))
    latin = '{"id": "é"}'.encode("latin-1") if name != "csv" else "id,text\n1,é\n".encode("latin-1")
    broken = latin if format.ending != "zip" else b"WEBVTT\n\n" + latin
    for bad in (broken, b"\x1f\x8b" + body[:50], gzip.compress(body)[:-12]):
        found = read(bad, name, kind)
        assert any(isinstance(one, RowError) for one in found), bad[:40]
    if name not in ("csv",):
        cut = read(body[: len(body) // 2], name, kind)
        assert any(isinstance(one, RowError) for one in cut)


@pytest.mark.parametrize("name", JSON_LINES)
def test_a_huge_line_is_told_without_being_held(name: str) -> None:
    kind = next(iter(catalogue.FORMATS[name].reads))
    body = b'{"id": "1", "text": "' + b"x" * (LINE_LIMIT + 10) + b'"}\n{"broken\n'
    found = read(body, name, kind)
    first = next(one for one in found if isinstance(one, RowError))
    assert (first.line, "too long" in first.message) == (1, True)


@pytest.mark.parametrize("name", list(catalogue.FORMATS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "data", "dialogue", "text", "label", "annotations", "result", "value", "choices", "fields", "messages",
                         "role", "content", "traces", "scores", "name", "source", "input", "metadata", "cxlab", "context", "attributes",
                         "segments", "words", "persona", "evaluation", "results", "turns", "annotator_kind", "span_id", "q.responses"]),
        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_no_shape_of_a_file_is_too_strange(name: str, value: Any) -> None:
    body = json.dumps(value if isinstance(value, dict | list) else [value])
    for kind in catalogue.FORMATS[name].reads:
        for one in read(body, name, kind):
            assert one.line is None or one.line >= 1


def test_formats_are_guessed() -> None:
    for name, format in catalogue.FORMATS.items():
        for kind in format.writes:
            body = b"".join(format.writes[kind](UNITS[kind], kind))
            found = catalogue.guess(body[: catalogue.HEAD], f"x.{format.ending}")[0]
            assert found == name or (name, found) == ("phoenix", "openinference"), (name, kind)
    for body, expected in ((STUDIO, "label-studio"), (json.dumps(WHISPERX, indent=1), "whisper"), (VTT, "webvtt"), (SUBRIP, "srt"),
                           ("id,channel\n1,chat\n", "csv"), ('{"id": 1, "text": "a", "label": []}', "doccano")):  # fmt: skip
        assert catalogue.guess(body.encode(), "x")[0] == expected
        assert catalogue.guess(gzip.compress(body.encode()), "x.gz")[0] == expected
