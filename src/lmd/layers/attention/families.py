"""What families of models do that no configuration tells; their names are without hyphens, underscores and parts.

Read off the modelling files of transformers 5.23, and for ``chatglm`` and ``hunyuan`` off their authors' own.
"""

import re

from lmd.layers.attention.settings import Settings

__all__ = [
    "GAIN_FROM_ONE",
    "HALVES",
    "NEIGHBOURS",
    "NEIGHBOURS_BY_STEM",
    "NORM_BEHIND_TURN",
    "NORM_WITHOUT_GAIN",
    "NORM_WITHOUT_SHIFT",
    "NO_TURN_WITHOUT_WINDOW",
    "TURNS_BACKWARDS",
    "TURNS_INPUTS",
    "is_among",
    "sounds_like",
]

_NEIGHBOURS = """
    blt chatglm codegen cohere cohere2 cohere2moe ernie45 ernie45moe ernie45vlmoe glm glm4 glm4v glmocr gptj
    helium llama4 moonshine moonshinestreaming openaiprivacyfilter pe peaudiovideo pevideo roformer
"""
NEIGHBOURS = frozenset(_NEIGHBOURS.split())
"""They turn neighbouring coordinates of a head."""
NEIGHBOURS_BY_STEM = frozenset({"codegen", "cohere", "ernie45", "glm", "gptj", "helium", "moonshine", "roformer"})
"""Whose name has one of these in it, and is in no list here, is taken to do so too."""
_HALVES = """
    afmoe apertus arcee aria bamba beam bitnet chameleon coherecompass cosmos3edge csm csmdepth cwm dbrx
    deepseekocr2 dia diffllama diffusiongemma doge dots1 embeddinggemma2 emu3 esm esmc esmfold2 eurobert evolla
    exaone4 exaone45 exaonemoe falcon falconh1 flexolmo flint gemma gemma2 gemma3 gemma3n gemma4 gemma4unified
    glm4moe glm4vmoe glm5next glmasr glmimage gptneox gptneoxjapanese gptoss granite granite4 granitedocling
    granitemoe granitemoehybrid granitemoeshared granitemoeswa graniteswa gte higgsaudiov2 hrm hunyuan hunyuanv1dense
    hunyuanv1moe hunyuanvl hyperclovax hyv3 hyv4 idefics jais2 jamba jetmoe jinaembeddingsv3 kolibri1
    kyutaispeechto laguna lfm2 lfm2moe lfm3 lfm3vl llama mellum mimi mimov2flash minicpm3 minimax minimaxm2
    minimaxm3vl ministral ministral3 mistral mixtral mlcd mllama modernbert molmo2 moshi moshidepth museglimmer
    museglimmerassistant musespark nanochat nemospeechlm nemotron nemotronasrstreaming nemotronh neomme neucodec
    nomicbert olmo olmo2 olmo3 olmoe olmohybrid paddleocrvl persimmon phi phi3 phi4multimodal phimoe pixtral
    qwen2 qwen25omni qwen25vl qwen2moe qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3omnimoe qwen3vl
    qwen3vlmoe qwen4exp recurrentgemma seedoss smollm3 solaropen stablelm starcoder2 step3p5 step3p7 t5gemma
    t5gemma2 timesfm25 ultrabert unlimitedocr vaultgemma videollama3 voxtralrealtime xcodec2 zamba2 zaya
"""
HALVES = frozenset(_HALVES.split())
"""They turn the first half of a head against the second."""
TURNS_BACKWARDS = frozenset({"nanochat"})
"""Their angles grow the other way round."""
NORM_BEHIND_TURN = frozenset(
    {"hunyuan", "hunyuanv1dense", "hunyuanv1moe", "hunyuanvl", "idefics", "llama4", "nanochat", "timesfm25"}
)
"""They normalise queries and keys after turning them, the others before."""
NORM_WITHOUT_GAIN = frozenset({"llama4", "museglimmer", "musespark", "nanochat"})
"""They divide queries and keys by their lengths without a gain, of which a file holds nothing."""
NORM_WITHOUT_SHIFT = frozenset({"cohere", "stablelm"})
"""Their norms of queries and keys take the mean out and add nothing, which a bare file does not tell."""
GAIN_FROM_ONE = frozenset(
    {
        *("gemma", "gemma2", "gemma3", "minimaxm3vl", "qwen35", "qwen35moe", "qwen3next", "qwen4exp"),
        *("recurrentgemma", "step3p5", "step3p7", "t5gemma", "t5gemma2", "vaultgemma"),
    }
)
"""They store how far a gain is from 1."""
NO_TURN_WITHOUT_WINDOW = frozenset(
    {"afmoe", "cohere2", "cohere2moe", "exaone4", "exaone45", "exaonemoe", "flint", "kolibri1"}
)
"""They turn in the layers that look at a window only."""
TURNS_INPUTS = frozenset({"seamlessm4t", "wav2vec2bert", "wav2vec2conformer"})
"""They turn what comes into the projections of query and key, not what comes out."""

_PART_OF_A_MODEL = re.compile(
    r"(text|language|llm|vision|visual|image|audio|speech|encoder|decoder|model|module|self|multihead|sdpa|flash)+$"
)


def is_among(settings: Settings, families: frozenset[str]) -> bool:
    """Whether the name for the model, or the class of the layer, is that of one of the families."""
    return any(name in families for name in _names(settings))


def sounds_like(settings: Settings, families: frozenset[str]) -> bool:
    """Whether the name of one of the families is in that for the model or in that of the layer's class."""
    return any(family in name for name in _names(settings) for family in families)


def _names(settings: Settings) -> tuple[str, ...]:
    kind = re.sub(r"attention\d*$", "", settings.classes[0].lower())
    given = re.sub(r"[-_.]", "", str(settings.value("model_type") or "").lower())
    return tuple(whole for name in (given, kind) for whole in {name, _PART_OF_A_MODEL.sub("", name)} if whole)
