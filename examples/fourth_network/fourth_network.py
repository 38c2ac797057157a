"""A network for mirex_submission in one function; pyproject.toml registers it as `--model separable`."""

from keras import layers


def separable(segments):
    """Map standardised log-Mel segments [n, bands, frames, 1] to features [n, 64]; a softmax layer follows."""
    x = layers.Conv2D(32, (5, 5), padding="same", use_bias=False)(segments)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D((2, 4))(layers.Activation("relu")(x))
    x = layers.SeparableConv2D(64, (3, 3), padding="same", activation="relu")(x)
    return layers.Dropout(0.2)(layers.GlobalMaxPooling2D()(x))
