"""What is sent and read before and around turns: introductions, prompts with attachments, choices."""

from typing import Any

import pytest

from coder.backends.acp.choices import Choices, read_choices
from coder.backends.acp.handshake import Introduction, initialize_params, read_introduction
from coder.backends.acp.prompt import prompt_blocks
from coder.backends.acp.selection import Selection, selections
from coder.backends.base import PromptInput
from coder.errors import AgentProtocolError, InvalidInput
from coder.model.providers import Provider
from coder.model.tasks import Attachment

AGENT = ("agent", "--acp")
IMAGE = Attachment(name="a.png", mime_type="image/png", data="iVBORw0KGgo=", uri="file:///a.png")
TEXT = Attachment(name="my notes.md", mime_type="text/markdown", data="IyBoaQ==")


@pytest.mark.parametrize("answer", [{"protocolVersion": 1}, {"protocolVersion": "1"}, {}])
def test_an_agent_of_our_version_or_of_none_is_taken(answer: Any) -> None:
    assert read_introduction(answer, AGENT) == Introduction()


@pytest.mark.scenario("acp-backend: Another protocol version is refused by name")
@pytest.mark.parametrize("version", [3, 0, "2025-06-18", [1]])
def test_an_agent_of_another_version_is_refused_by_name(version: Any) -> None:
    with pytest.raises(AgentProtocolError, match="speaks protocol version"):
        read_introduction({"protocolVersion": version}, AGENT)


@pytest.mark.scenario("acp-backend: Files and terminals are offered as the catalogue says")
@pytest.mark.parametrize("is_offered", [True, False])
def test_files_and_terminals_are_offered_as_the_catalogue_says(is_offered: bool) -> None:
    provider = Provider(id="a", label="A", command=AGENT, offer_fs=is_offered, offer_terminal=is_offered)
    offered: Any = initialize_params(provider, 2)["clientCapabilities"]
    assert offered["fs"] == {"readTextFile": is_offered, "writeTextFile": is_offered}
    assert offered["terminal"] is is_offered


def test_ways_to_sign_in_are_read_with_the_command_of_those_that_need_a_terminal() -> None:
    methods: Any = [
        {"id": "key", "name": "API key", "description": "Set KEY"},
        {"id": "login", "type": "terminal", "args": ["--login"]},
        {"id": "own", "name": "Own", "_meta": {"type": "terminal", "args": ["--auth"]}},
        {"name": "no id"},
    ]
    found = read_introduction({"authMethods": methods}, AGENT).auth
    assert [(method.id, method.name, method.command) for method in found] == [
        ("key", "API key", None),
        ("login", "login", (*AGENT, "--login")),
        ("own", "Own", (*AGENT, "--auth")),
    ]


@pytest.mark.scenario("acp-backend: The newest version that both speak is spoken")
def test_an_agent_of_version_2_introduces_itself_in_its_own_words() -> None:
    answer: Any = {
        "protocolVersion": 2,
        "info": {"name": "a", "title": "Agent", "version": "3"},
        "capabilities": {"session": {"prompt": {"image": {}, "embeddedContext": {}, "audio": None}}},
        "authMethods": [
            {"methodId": "key", "type": "agent", "name": "API key"},
            {"methodId": "login", "type": "terminal", "name": "Login", "args": ["--login"]},
        ],
        "_meta": {"steering": {"supported": True}},
    }
    found = read_introduction(answer, AGENT)
    assert (found.protocol, found.name, found.version) == (2, "Agent", "3")
    assert (found.can_resume, found.can_load, found.can_close, found.can_steer) == (True, True, True, True)
    assert (found.accepts_images, found.accepts_resources, found.accepts_audio) == (True, True, False)
    assert [(method.id, method.command) for method in found.auth] == [("key", None), ("login", (*AGENT, "--login"))]


def test_an_agent_that_repeats_our_number_in_words_of_version_1_is_taken_at_its_words() -> None:
    answer: Any = {
        "protocolVersion": 2,
        "agentCapabilities": {"loadSession": False, "promptCapabilities": {"image": True}},
    }
    found = read_introduction(answer, AGENT)
    assert (found.protocol, found.accepts_images, found.can_resume) == (1, True, False)


@pytest.mark.scenario("acp-backend: The newest version that both speak is spoken")
def test_the_offer_is_understood_by_agents_of_either_version() -> None:
    provider = Provider(id="a", label="A", command=AGENT)
    newer, older = initialize_params(provider, 2), initialize_params(provider, 1)
    assert newer["protocolVersion"] == 2
    assert newer["info"] == newer["clientInfo"] == older["clientInfo"]
    assert newer["clientCapabilities"] == older["clientCapabilities"]
    assert older["protocolVersion"] == 1
    assert not {"info", "capabilities"} & older.keys()


@pytest.mark.scenario("acp-backend: Mode, model and thinking level are set as asked")
def test_version_2_names_the_type_of_every_value_that_is_set() -> None:
    result: Any = {"configOptions": [{**select("", "model", "small", "large"), "id": None, "configId": "m"}]}
    result["configOptions"].append({"configId": "fast", "type": "boolean", "currentValue": False})
    choices = read_choices(result, Choices())
    assert list(selections(lambda: choices, "large", None, None, {"fast": True}, 2)) == [
        Selection("session/set_config_option", {"configId": "m", "value": "large", "type": "id"}, {"model": "large"}),
        Selection("session/set_config_option", {"configId": "fast", "value": True, "type": "boolean"}, {}),
    ]


def test_attachments_become_what_the_agent_says_it_takes() -> None:
    input = PromptInput("look", (IMAGE, TEXT))
    rich = Introduction(accepts_images=True, accepts_resources=True)
    blocks: Any = prompt_blocks(input, rich)
    assert [block["type"] for block in blocks] == ["text", "image", "resource"]
    assert blocks[2]["resource"] == {
        "uri": "attachment:///my%20notes.md",
        "mimeType": "text/markdown",
        "text": "# hi",
    }
    plain: Any = prompt_blocks(input, Introduction())
    assert [block["type"] for block in plain] == ["text", "resource_link", "text"]
    assert plain[2]["text"] == "my notes.md:\n# hi"


@pytest.mark.parametrize(
    "attachment",
    [
        Attachment(name="a.png", mime_type="image/png", data="iVBORw0KGgo="),
        Attachment(name="a.png", mime_type="image/png", data="not base64!"),
        Attachment(name="a.png", mime_type="image/png", data="nøt base64"),
        Attachment(name="a.png", mime_type="image/png"),
    ],
    ids=["image", "damaged", "foreign", "empty"],
)
def test_an_attachment_the_agent_cannot_take_is_refused_by_name(attachment: Attachment) -> None:
    with pytest.raises(InvalidInput, match=r"a\.png"):
        prompt_blocks(PromptInput("look", (attachment,)), Introduction())


def select(id: str, category: str, *values: str) -> Any:
    options = [{"value": value, "name": value} for value in values]
    return {"id": id, "category": category, "type": "select", "currentValue": values[0], "options": options}


def test_only_what_differs_is_set_and_each_by_the_way_the_agent_offers() -> None:
    result: Any = {
        "modes": {"currentModeId": "ask", "availableModes": [{"id": "ask"}, {"id": "auto"}]},
        "configOptions": [
            select("m", "model", "small", "large"),
            select("effort", "thought_level", "low", "high"),
            {"id": "fast", "type": "boolean", "currentValue": False},
        ],
    }
    choices = read_choices(result, Choices())
    assert list(selections(lambda: choices, "small", "ask", "low", {"fast": False})) == []
    assert list(selections(lambda: choices, "large", "auto", "high", {"fast": True})) == [
        Selection("session/set_config_option", {"configId": "m", "value": "large"}, {"model": "large"}),
        Selection("session/set_mode", {"modeId": "auto"}, {"mode": "auto"}),
        Selection("session/set_config_option", {"configId": "effort", "value": "high"}, {"thinking": "high"}),
        Selection("session/set_config_option", {"configId": "fast", "value": True, "type": "boolean"}, {}),
    ]


def test_models_of_agents_that_know_only_the_older_way_are_set_that_way() -> None:
    models: Any = {"currentModelId": "a", "availableModels": [{"modelId": "a"}, {"modelId": "b"}]}
    choices = read_choices({"models": models}, Choices())
    assert list(selections(lambda: choices, "b", None, None, {})) == [
        Selection("session/set_model", {"modelId": "b"}, {"model": "b"})
    ]


@pytest.mark.parametrize("wanted", [("m", None, None), (None, "m", None), (None, None, "m")])
def test_a_choice_the_agent_does_not_have_is_refused(wanted: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(InvalidInput):
        list(selections(lambda: Choices(), *wanted, {}))
