"""How GitHub is spoken to: what is tried again, what is not, and what an error says."""

from __future__ import annotations

import pytest

from llmops.domain.problems import Misused
from llmops.forge import comments, statuses
from llmops.forge.github import Access, Client, Refusal, Silence
from llmops.forge.statuses import Status, StatusBoard, StatusState
from tests.forge.npm import Description
from tests.forge.stand_in import PERSON, ROBOT, TOKEN, Answer, GitHub

SHA = "a" * 40
PENDING = Status("llmops/answer", StatusState.PENDING, "Judging.")


class Clock:
    """Waits for nothing, and remembers for how long."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(github: GitHub, clock: Clock) -> Client:
    return Client(Access(github.url, "example/models", TOKEN), clock)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_server_that_is_unwell_is_asked_again_ever_later(
    github: GitHub, client: Client, clock: Clock, status: int
) -> None:
    github.answers = [Answer(status), Answer(status)]
    statuses.post(client, SHA, PENDING, "")
    assert github.said() == [("llmops/answer", "pending")]
    assert clock.waits == [1, 2]


@pytest.mark.parametrize(
    ("answer", "waited"),
    [
        (Answer(429, headers=(("Retry-After", "7"),)), 7),
        (Answer(403, {"message": "You have exceeded a secondary rate limit."}, (("Retry-After", "30"),)), 30),
        (Answer(403, {"message": "You have exceeded a secondary rate limit."}), 60),
        (
            Answer(
                403,
                {"message": "API rate limit exceeded"},
                (
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", "1767607245"),
                    ("Date", "Mon, 05 Jan 2026 10:00:00 GMT"),
                ),
            ),
            45,
        ),
    ],
    ids=["429", "secondary", "secondary-without-a-time", "primary"],
)
def test_a_limit_of_the_rate_is_waited_for_as_long_as_github_says(
    github: GitHub, client: Client, clock: Clock, answer: Answer, waited: float
) -> None:
    github.answers = [answer]
    statuses.post(client, SHA, PENDING, "")
    assert clock.waits == [waited]
    assert len(github.asked) == 2


def test_a_limit_that_takes_too_long_is_given_up_with_the_time(github: GitHub, client: Client, clock: Clock) -> None:
    github.answers = [Answer(429, headers=(("Retry-After", "3600"),))]
    with pytest.raises(Silence, match="wait for 3600 s"):
        statuses.post(client, SHA, PENDING, "")
    assert clock.waits == []


def test_who_never_answers_is_given_up_after_five_tries(client: Client, github: GitHub, clock: Clock) -> None:
    github.answers = [Answer(500)] * 5
    with pytest.raises(Silence, match="Run it again later"):
        statuses.post(client, SHA, PENDING, "")
    assert len(github.asked) == 5
    assert clock.waits == [1, 2, 4, 8]


def test_a_port_where_nobody_listens_is_tried_again_too(clock: Clock) -> None:
    with pytest.raises(Silence, match="Connection refused"):
        statuses.post(Client(Access("http://127.0.0.1:9", "example/models", TOKEN), clock), SHA, PENDING, "")
    assert len(clock.waits) == 4


def test_a_missing_permission_is_named_with_the_line_to_add(github: GitHub, client: Client, clock: Clock) -> None:
    github.answers = [Answer(403, {"message": "Resource not accessible by integration"})]
    with pytest.raises(Refusal, match="add `statuses: write` below its `permissions:`"):
        statuses.post(client, SHA, PENDING, "")
    assert clock.waits == []


def test_a_permission_that_github_names_is_passed_on(github: GitHub, client: Client) -> None:
    github.answers = [Answer(403, {}, (("X-Accepted-GitHub-Permissions", "checks=write"),))]
    with pytest.raises(Refusal, match="add `checks: write`"):
        client.call("GET", "/anything")


def test_what_is_wrong_with_a_request_is_said_in_githubs_words(github: GitHub, client: Client) -> None:
    github.answers = [Answer(422, {"message": "Validation failed", "errors": [{"message": "context is too long"}]})]
    with pytest.raises(Refusal, match=r"422 Validation failed\. context is too long"):
        statuses.post(client, SHA, PENDING, "")


def test_a_token_is_in_no_message_and_in_no_picture_of_a_value(github: GitHub, client: Client) -> None:
    github.answers = [Answer(401, {"message": f"Bad credentials: {TOKEN}"})]
    with pytest.raises(Refusal) as caught:
        statuses.post(client, SHA, PENDING, "")
    assert TOKEN not in str(caught.value)
    assert "***" in str(caught.value)
    assert TOKEN not in repr(Access(github.url, "example/models", TOKEN))


def test_a_redirect_is_not_followed_because_it_would_hand_on_the_token(github: GitHub, client: Client) -> None:
    github.answers = [Answer(301, {}, (("Location", f"{github.url}/elsewhere"),))]
    with pytest.raises(Refusal, match="was renamed"):
        statuses.post(client, SHA, PENDING, "")
    assert [one.path for one in github.asked] == [f"/repos/example/models/statuses/{SHA}"]


def test_a_token_is_sent_over_nothing_but_https() -> None:
    with pytest.raises(Misused, match="only sent over https"):
        Client(Access("http://github.example", "example/models", TOKEN))


# The one comment


def test_a_comment_is_made_once_and_then_updated_in_place(github: GitHub, client: Client) -> None:
    comments.put(client, 7, "<!-- marker -->", "first")
    comments.put(client, 7, "<!-- marker -->", "second")
    assert [one["body"] for one in github.comments] == ["<!-- marker -->\nsecond"]


def test_a_comment_that_says_the_same_already_is_left_alone(github: GitHub, client: Client) -> None:
    comments.put(client, 7, "<!-- marker -->", "same")
    before = len(github.asked)
    comments.put(client, 7, "<!-- marker -->", "same")
    assert {one.method for one in github.asked[before:]} == {"GET"}


def test_what_a_person_wrote_stays_even_if_it_begins_with_our_marker(github: GitHub, client: Client) -> None:
    github.add_comment(PERSON, "<!-- marker -->\nquoted")
    github.add_comment(ROBOT, "Somebody said: <!-- marker -->\nquoted")
    comments.put(client, 7, "<!-- marker -->", "ours")
    assert [one["body"].rpartition("\n")[2] for one in github.comments] == ["quoted", "quoted", "ours"]


def test_our_comment_is_found_behind_a_hundred_others(github: GitHub, client: Client) -> None:
    for number in range(150):
        github.add_comment(PERSON, f"comment {number}")
    github.add_comment(ROBOT, "<!-- marker -->\nold")
    comments.put(client, 7, "<!-- marker -->", "new")
    assert len(github.comments) == 151
    assert github.comments[-1]["body"] == "<!-- marker -->\nnew"


def test_a_comment_that_was_taken_before_the_answer_was_lost_is_not_made_twice(
    github: GitHub, client: Client, clock: Clock
) -> None:
    github.answers = [
        Answer(403, only="/user"),
        Answer(200, [], only="/comments"),
        Answer(502, only="/comments", keeps=True),
    ]
    comments.put(client, 7, "<!-- marker -->", "once")
    assert [one["body"] for one in github.comments] == ["<!-- marker -->\nonce"]
    assert clock.waits == [1]


# Statuses


def test_a_board_settles_what_it_began(github: GitHub, client: Client) -> None:
    board = StatusBoard(lambda status: statuses.post(client, SHA, status, "https://github.example/run"))
    board.begin("llmops/a", "x" * 500)
    board.begin("llmops/b", "Judging.")
    board.settle("llmops/a", StatusState.SUCCESS, "good")
    board.close(StatusState.ERROR, "The machine went away.")
    assert github.latest() == {"llmops/a": "success", "llmops/b": "error"}
    assert max(len(one["description"]) for one in github.statuses) == 140


def test_statuses_that_a_run_left_pending_are_found_and_no_others(github: GitHub, client: Client) -> None:
    for name, state, page in [
        ("llmops/settled", StatusState.PENDING, "page"),
        ("llmops/settled", StatusState.SUCCESS, "page"),
        ("llmops/left", StatusState.PENDING, "page"),
        ("llmops/of-another-run", StatusState.PENDING, "other page"),
        ("another/left", StatusState.PENDING, "page"),
    ]:
        statuses.post(client, SHA, Status(name, state, ""), page)
    assert list(statuses.pending(client, SHA, "page")) == ["llmops/left"]


def test_a_board_that_gets_no_answer_twice_stops_asking(github: GitHub, client: Client) -> None:
    github.answers = [Answer(500)] * 50
    board = StatusBoard(lambda status: statuses.post(client, SHA, status, ""))
    for number in range(20):
        board.begin(f"llmops/{number}", "Judging.")
    assert len(github.asked) == 10
    assert len(board.trouble) == 2


def test_a_board_that_may_not_speak_asks_once_and_goes_on(github: GitHub, client: Client) -> None:
    github.answers = [Answer(403, {"message": "Resource not accessible by integration"})]
    board = StatusBoard(lambda status: statuses.post(client, SHA, status, ""))
    board.begin("llmops/a", "Judging.")
    board.settle("llmops/a", StatusState.SUCCESS, "good")
    assert len(github.asked) == 1
    assert "statuses: write" in board.trouble[0]


def test_every_request_is_one_that_github_describes(github: GitHub, client: Client, description: Description) -> None:
    statuses.post(client, SHA, PENDING, "https://github.example/run")
    list(statuses.pending(client, SHA, ""))
    comments.put(client, 7, "<!-- marker -->", "first")
    comments.put(client, 7, "<!-- marker -->", "second")
    assert {(one.method, one.path.rpartition("/")[2]) for one in github.asked} >= {("PATCH", "1"), ("POST", "comments")}
    assert github.complaints(description) == []


def test_the_description_finds_what_is_wrong_with_a_request(description: Description) -> None:
    path = f"/repos/example/models/statuses/{SHA}"
    assert description.complaints("POST", path, {}, {"state": "done"}) != []
    assert description.complaints("POST", path, {}, {"state": "pending", "colour": "red"}) != []
    assert description.complaints("GET", path, {}, None) != []
    assert description.complaints("GET", "/repos/example/models/issues/7/comments", {"size": "5"}, None) != []
