"""What the server reads and answers: the part of OpenAI's chat-completions API that a video-language model can fill.

Fields that we do not know are ignored, as OpenAI's own server does with those of the future; those that we know and
cannot honour are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["system", "developer", "user", "assistant"]
Finish = Literal["stop", "length"]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Url(BaseModel):
    """url: a data URL; the server fetches nothing from elsewhere."""

    url: str


class ImagePart(BaseModel):
    type: Literal["image_url"]
    image_url: Url


class VideoPart(BaseModel):
    """data:video/mp4;base64,... or, frame by frame, data:video/jpeg;base64,FRAME1,FRAME2,..."""

    type: Literal["video_url"]
    video_url: Url


class Embeddings(BaseModel):
    """The 32 video queries as (32, width) numbers, row by row, little-endian, in base64.

    data: the numbers. dtype: of each. width: of the language model's embeddings.
    """

    data: str
    dtype: Literal["float16", "float32"] = "float16"
    width: int = Field(ge=1)


class EmbeddingsPart(BaseModel):
    """Our own kind of part: pictures that were encoded where they were taken, and stayed there."""

    type: Literal["video_embeddings"]
    video_embeddings: Embeddings


Part = Annotated[TextPart | ImagePart | VideoPart | EmbeddingsPart, Field(discriminator="type")]


class Message(BaseModel):
    role: Role
    content: str | list[Part]


class StreamOptions(BaseModel):
    include_usage: bool = False


class TextFormat(BaseModel):
    type: Literal["text"]


class ChatRequest(BaseModel):
    """temperature: 0, the default here, is greedy. max_completion_tokens goes before its old name max_tokens.

    n, tools, logit_bias, the penalties and response_format are there to be refused where they ask for more than none.
    """

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    tools: list[Any] | None = Field(None, max_length=0)
    logit_bias: dict[str, float] | None = Field(None, max_length=0)
    presence_penalty: float | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    response_format: TextFormat | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options and not self.stream:
            raise ValueError("stream_options needs stream: true")
        if len(self.stops) > 4:
            raise ValueError("there can be four stop texts at most")
        return self

    @property
    def stops(self) -> list[str]:
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


class TopLogprob(BaseModel):
    """logprob: natural logarithm of the probability before temperature."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(BaseModel):
    content: list[TokenLogprob]
    refusal: None = None


class Usage(BaseModel):
    """The 32 video queries count as prompt tokens, which they are to the model."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Answer(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: int = 0
    message: Answer
    logprobs: Logprobs | None
    finish_reason: Finish


class Completion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Delta(BaseModel):
    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(BaseModel):
    index: int = 0
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: Finish | None = None


class Chunk(BaseModel):
    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class Model(BaseModel):
    """video_embeddings_width: ours alone; its presence tells clients that `video_embeddings` are read here."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "callm-edge"
    video_embeddings_width: int


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class Refusal(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class Refused(BaseModel):
    """Any answer that is no success."""

    error: Refusal
