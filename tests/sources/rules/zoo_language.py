"""Small networks of words, items, users and actions."""

from collections.abc import Callable

from torch import nn

from tests.sources.rules.zoo_parts import conv, raw, tree

__all__ = ["LANGUAGE"]

S = nn.Sequential


def char_rnn() -> nn.Module:
    return tree(embedding=nn.Embedding(65, 32), lstm=nn.LSTM(32, 64), fc=nn.Linear(64, 65))


def char_gru() -> nn.Module:
    return tree(encoder=nn.Embedding(65, 48), gru=nn.GRU(48, 48, 2), decoder=nn.Linear(48, 65))


def text_classifier() -> nn.Module:
    rnn = nn.LSTM(50, 64, bidirectional=True)
    return tree(embedding=nn.Embedding(300, 50), lstm=rnn, fc=nn.Linear(128, 2))


def summing_rnn() -> nn.Module:
    return tree(emb=nn.Embedding(200, 32), gru=nn.GRU(32, 48, bidirectional=True), out=nn.Linear(96, 200))


def seq2seq() -> nn.Module:
    encoder = tree(embedding=nn.Embedding(300, 32), gru=nn.GRU(32, 48))
    attention = tree(Wa=nn.Linear(48, 48), Ua=nn.Linear(48, 48), Va=nn.Linear(48, 1))
    decoder = tree(embedding=nn.Embedding(200, 32), attention=attention, gru=nn.GRU(80, 48), out=nn.Linear(48, 200))
    return tree(encoder=encoder, decoder=decoder)


def word_lm() -> nn.Module:
    return tree(encoder=nn.Embedding(200, 32), rnn=nn.LSTM(32, 64, 2), decoder=nn.Linear(64, 200))


def word_lm_untied() -> nn.Module:
    return tree(encoder=nn.Embedding(200, 32), rnn=nn.LSTM(32, 32, 2), decoder=nn.Linear(32, 200))


def transformer_lm() -> nn.Module:
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64), 2, enable_nested_tensor=False)
    return tree(encoder=nn.Embedding(200, 32), transformer_encoder=layers, decoder=nn.Linear(32, 200))


def translator() -> nn.Module:
    return tree(
        src_tok_emb=nn.Embedding(150, 32), tgt_tok_emb=nn.Embedding(120, 32),
        transformer=nn.Transformer(32, 4, 1, 1, 64), generator=nn.Linear(32, 120),
    )  # fmt: skip


def nano_gpt() -> nn.Module:
    attn = tree(c_attn=nn.Linear(32, 96, bias=False), c_proj=nn.Linear(32, 32, bias=False))
    mlp = tree(c_fc=nn.Linear(32, 128, bias=False), c_proj=nn.Linear(128, 32, bias=False))
    block = tree(ln_1=nn.LayerNorm(32), attn=attn, ln_2=nn.LayerNorm(32), mlp=mlp)
    body = tree(wte=nn.Embedding(65, 32), wpe=nn.Embedding(16, 32), h=nn.ModuleList([block]), ln_f=nn.LayerNorm(32))
    return tree(transformer=body, lm_head=nn.Linear(32, 65, bias=False))


def llama_like() -> nn.Module:
    def block() -> nn.Module:
        attention = tree(
            wq=nn.Linear(32, 32, bias=False), wk=nn.Linear(32, 16, bias=False), wv=nn.Linear(32, 16, bias=False),
            wo=nn.Linear(32, 32, bias=False),
        )  # fmt: skip
        ffn = tree(w1=nn.Linear(32, 88, bias=False), w2=nn.Linear(88, 32, bias=False), w3=nn.Linear(32, 88, bias=False))
        norms = {"attention_norm": nn.RMSNorm(32), "ffn_norm": nn.RMSNorm(32)}
        return tree(attention=attention, feed_forward=ffn, **norms)

    return tree(
        tok_embeddings=nn.Embedding(120, 32), layers=nn.ModuleList([block(), block()]), norm=nn.RMSNorm(32),
        output=nn.Linear(32, 120, bias=False),
    )  # fmt: skip


def bert_like() -> nn.Module:
    embeddings = tree(
        word_embeddings=nn.Embedding(100, 32), position_embeddings=nn.Embedding(64, 32),
        token_type_embeddings=nn.Embedding(2, 32), LayerNorm=nn.LayerNorm(32),
    )  # fmt: skip
    own = tree(query=nn.Linear(32, 32), key=nn.Linear(32, 32), value=nn.Linear(32, 32))
    layer = tree(
        attention=tree(self=own, output=tree(dense=nn.Linear(32, 32), LayerNorm=nn.LayerNorm(32))),
        intermediate=tree(dense=nn.Linear(32, 64)), output=tree(dense=nn.Linear(64, 32), LayerNorm=nn.LayerNorm(32)),
    )  # fmt: skip
    return tree(embeddings=embeddings, encoder=tree(layer=nn.ModuleList([layer])), pooler=tree(dense=nn.Linear(32, 32)))


def text_cnn() -> nn.Module:
    convs = nn.ModuleList([conv(1, 20, (k, 50)) for k in (3, 4, 5)])
    return tree(embedding=nn.Embedding(300, 50), convs=convs, fc=nn.Linear(60, 2))


def text_cnn_1d() -> nn.Module:
    names = {f"conv_{k}": nn.Conv1d(50, 20, k) for k in (3, 4, 5)}
    return tree(embed=nn.Embedding(300, 50), **names, fc=nn.Linear(60, 2))


def mamba_like() -> nn.Module:
    mixer = tree(
        A_log=raw(64, 8), D=raw(64), in_proj=nn.Linear(32, 128, bias=False), conv1d=nn.Conv1d(64, 64, 4, groups=64),
        x_proj=nn.Linear(64, 18, bias=False), dt_proj=nn.Linear(2, 64), out_proj=nn.Linear(64, 32, bias=False),
    )  # fmt: skip
    return tree(
        embedding=nn.Embedding(100, 32), layers=S(tree(mixer=mixer, norm=nn.RMSNorm(32))), norm_f=nn.RMSNorm(32)
    )


def matrix_factorisation() -> nn.Module:
    return tree(user_factors=nn.Embedding(100, 20), item_factors=nn.Embedding(80, 20))


def matrix_factorisation_biased() -> nn.Module:
    return tree(
        user_factors=nn.Embedding(100, 20), item_factors=nn.Embedding(80, 20), user_bias=nn.Embedding(100, 1),
        item_bias=nn.Embedding(80, 1),
    )  # fmt: skip


def collaborative() -> nn.Module:
    return tree(
        embed_user_GMF=nn.Embedding(100, 8), embed_item_GMF=nn.Embedding(90, 8), embed_user_MLP=nn.Embedding(100, 32),
        embed_item_MLP=nn.Embedding(90, 32), MLP_layers=S(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 8)),
        predict_layer=nn.Linear(16, 1),
    )  # fmt: skip


def dlrm() -> nn.Module:
    tables = nn.ModuleList([nn.EmbeddingBag(n, 16) for n in (60, 40, 90)])
    return tree(emb_l=tables, bot_l=S(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16)),
                top_l=S(nn.Linear(22, 32), nn.ReLU(), nn.Linear(32, 1)))  # fmt: skip


def skip_gram() -> nn.Module:
    return tree(u_embeddings=nn.Embedding(200, 20), v_embeddings=nn.Embedding(200, 20))


def tagger() -> nn.Module:
    return tree(word_embeds=nn.Embedding(300, 50), lstm=nn.LSTM(50, 32, bidirectional=True),
                hidden2tag=nn.Linear(64, 9))  # fmt: skip


def raw_mlp() -> nn.Module:
    return tree(W1=raw(20, 40), b1=raw(40), W2=raw(40, 5), b2=raw(5))


def gcn() -> nn.Module:
    return tree(gc1=tree(weight=raw(30, 16), bias=raw(16)), gc2=tree(weight=raw(16, 7), bias=raw(7)))


def mlp_bare() -> nn.Module:
    return S(nn.Linear(20, 40, bias=False), nn.ReLU(), nn.Linear(40, 40, bias=False), nn.ReLU(),
             nn.Linear(40, 5, bias=False))  # fmt: skip


def mlp_norm() -> nn.Module:
    return S(nn.Linear(20, 40, bias=False), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 5, bias=False))


def actor_critic() -> nn.Module:
    def mlp(o: int) -> nn.Module:
        return S(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, o))

    return tree(actor=mlp(4), critic=mlp(1))


LANGUAGE: dict[str, Callable[[], nn.Module]] = {
    maker.__name__: maker
    for maker in (
        char_rnn,
        char_gru,
        text_classifier,
        summing_rnn,
        seq2seq,
        word_lm,
        word_lm_untied,
        transformer_lm,
        translator,
        nano_gpt,
        llama_like,
        bert_like,
        text_cnn,
        text_cnn_1d,
        mamba_like,
        matrix_factorisation,
        matrix_factorisation_biased,
        collaborative,
        dlrm,
        skip_gram,
        tagger,
        raw_mlp,
        gcn,
        mlp_bare,
        mlp_norm,
        actor_critic,
    )
}
"""Name to maker."""
