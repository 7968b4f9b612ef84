//! Eyes: pictures become embeddings that stand among those of the tokens.
//!
//! A patch of a picture has a place in a prompt as a token has, under an id beyond all vocabularies
//! ([`patches`]). So everything that carries, pads, caches or cuts prompts carries pictures too, and a
//! picture may stand anywhere. Its embedding is computed where a token's is looked up: by three
//! convolutions of stride 2, which make one patch of 8x8 pixels, and a vector for the patch's place.
//! A picture is encoded once in a batch, however many sequences look at it. A convolution is one product of all windows with
//! the weights: no device needs kernels for it that the page would have to carry.
//!
//! Leaves out: files. The pictures that ids speak of are shown to a model ([`Transformer::looking_at`])
//! and are no part of its weights.
//! Source: LeCun et al. 1989 (convolutions); Dosovitskiy et al. 2021 (patches as tokens); Xiao et al. 2021
//! (convolutions in place of one projection a patch).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor, TensorData, activation, module};
use kudos_schema::{CHANNELS, PATCH, Picture, patch_count, patch_ids, patch_of};
use rand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Transformer;
use super::parameters::{filled, normal, replace};
use super::row::OnHost;
use super::transformer::HOST_ONLY;

/// The sizes of eyes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VisionConfig {
    /// Pixels along one side of a picture; a multiple of 8, at most 256.
    pub image_size: usize,
    /// Channels behind the first convolution; the next have twice and four times as many.
    pub width: usize,
}

/// Why a model cannot see what it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum VisionError {
    /// The model has no eyes.
    #[error("the policy has no eyes: give one that `sft` taught a task with pictures")]
    Blind,
    /// Pictures of another size.
    #[error("the pictures have {found} pixels a side and the policy sees {expected}: scale them")]
    Size {
        /// Of the pictures.
        found: usize,
        /// What the eyes take.
        expected: usize,
    },
    /// A size that no eyes have.
    #[error("vision.{field} is {size}: give {remedy}")]
    Config {
        /// The field.
        field: &'static str,
        /// What it holds.
        size: usize,
        /// What it may be.
        remedy: &'static str,
    },
}

/// Square pictures of one size, as plain numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pictures {
    /// Pixels along one side.
    pub size: usize,
    /// Red, green and blue from 0 to 255 of each pixel, row by row, picture after picture.
    pub pixels: Vec<u8>,
}

/// What turns pictures into embeddings. C channels of the last convolution, P patches of a picture
#[derive(Module, Debug)]
pub struct Eyes {
    convolutions: Vec<Convolution>,
    /// `[C, D]`
    output: Linear,
    /// What says where in its picture a patch is. `[P, D]`
    places: Param<Tensor<2>>,
    /// What ids speak of, from -1 to 1; not a parameter. `[N, S, S, 3]`
    pictures: Option<Tensor<4>>,
    #[module(skip)]
    config: VisionConfig,
}

/// A convolution of 3x3 with stride 2.
#[derive(Module, Debug)]
struct Convolution {
    /// `[output, input, 3, 3]`
    weight: Param<Tensor<4>>,
    /// `[output]`
    bias: Param<Tensor<1>>,
}

impl Convolution {
    /// Half as high and wide; beyond the upper and left edges stands 0. `[N, H, W, C] -> [N, H/2, W/2, O]`
    fn forward(&self, stream: Tensor<4>, host: Option<&OnHost>) -> Tensor<4> {
        let [count, height, width, channels] = stream.dims();
        let [outputs, _, _, _] = self.weight.dims();
        let (high, wide) = (height / 2, width / 2);
        let rows = threes(stream.reshape([count, height, width * channels]));
        let windows = threes(rows.reshape([count * high * 3, width, channels]));
        let windows = windows.reshape([count * high, 3, wide, 3 * channels]).swap_dims(1, 2);
        let windows = windows.reshape([count * high * wide, 9 * channels]);
        // Laid out column by column, as a host multiplies.
        let weight = self.weight.val().permute([0, 2, 3, 1]).reshape([outputs, 9 * channels]);
        let sums = product((windows, weight.transpose(), self.bias.val()), host);
        sums.reshape([count, high, wide, outputs])
    }
}

/// Where a host shows its memory, row by row on it. `[R, K], [K, N], [N] -> [R, N]`
fn product(
    (rows, weight, bias): (Tensor<2>, Tensor<2>, Tensor<1>),
    host: Option<&OnHost>,
) -> Tensor<2> {
    match host.and_then(|host| host.product(&rows, weight.clone(), bias.clone())) {
        Some(product) => product,
        None if HOST_ONLY => unreachable!("the device's memory is shown"),
        None => module::linear(rows, weight, Some(bias)),
    }
}

/// Each second of L in a row with its neighbours before and behind. `[N, L, C] -> [N, L/2, 3, C]`
fn threes(stream: Tensor<3>) -> Tensor<4> {
    let [count, length, width] = stream.dims();
    let pairs = stream.reshape([count, length / 2, 2, width]);
    let (own, behind) = (pairs.clone().narrow(2, 0, 1), pairs.narrow(2, 1, 1));
    let nothing = Tensor::zeros([count, 1, 1, width], (&own.device(), own.dtype()));
    let before = match length / 2 {
        1 => nothing,
        half => Tensor::cat(vec![nothing, behind.clone().narrow(1, 0, half - 1)], 1),
    };
    Tensor::cat(vec![before, own, behind], 2)
}

/// The patches of a batch: which pictures, and where they stand.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The pictures, each once.
    pictures: Vec<usize>,
    /// Place in the batch, row by row; which of `pictures`; which patch of it.
    patches: Vec<(usize, usize, usize)>,
}

/// The ids under which a picture stands in a prompt, for eyes of this kind.
pub fn patches(picture: usize, config: VisionConfig) -> Vec<u32> {
    patch_ids(picture, config.image_size)
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self { image_size: 32, width: 32 }
    }
}

impl VisionConfig {
    /// How many places of a prompt a picture takes.
    pub fn patches(self) -> usize {
        patch_count(self.image_size)
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// The first that is out of bounds.
    pub fn validate(self) -> Result<(), VisionError> {
        let size = self.image_size;
        if size == 0 || !size.is_multiple_of(PATCH) || size > 256 {
            let remedy = "a multiple of 8 up to 256";
            return Err(VisionError::Config { field: "image_size", size, remedy });
        }
        if self.width == 0 || self.width > 1024 {
            let (size, remedy) = (self.width, "1 to 1024 channels");
            return Err(VisionError::Config { field: "width", size, remedy });
        }
        Ok(())
    }

    /// Channels from the picture to the last convolution.
    fn channels(self) -> [usize; 4] {
        [CHANNELS, self.width, 2 * self.width, 4 * self.width]
    }
}

impl Pictures {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.pixels.len().checked_div(self.of_one()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Puts others behind these.
    ///
    /// # Errors
    /// If they have another size.
    pub fn append(&mut self, other: &Self) -> Result<(), VisionError> {
        if !self.is_empty() && !other.is_empty() && self.size != other.size {
            return Err(VisionError::Size { found: other.size, expected: self.size });
        }
        self.size = if self.is_empty() { other.size } else { self.size };
        self.pixels.extend_from_slice(&other.pixels);
        Ok(())
    }

    /// Numbers of one picture.
    fn of_one(&self) -> usize {
        CHANNELS * self.size * self.size
    }

    /// From -1 to 1. `-> [N, S, S, 3]`
    fn on_device(&self, device: &Device) -> Tensor<4> {
        let (count, size) = (self.len(), self.size);
        let values = self.pixels.iter().map(|x| f32::from(*x) / 127.5 - 1.0);
        let data = TensorData::new(values.collect::<Vec<f32>>(), [count, size, size, CHANNELS]);
        Tensor::from_data(data, &device.clone().without_autodiff()).to_device(device)
    }
}

impl From<&Picture> for Pictures {
    fn from(picture: &Picture) -> Self {
        Self { size: picture.size, pixels: picture.pixels.clone() }
    }
}

impl Seen {
    /// The patches among ids that stand row by row, if there are any.
    pub(super) fn among(ids: impl Iterator<Item = u32>) -> Option<Self> {
        let mut seen = Self::default();
        for (place, id) in ids.enumerate() {
            let Some((picture, patch)) = patch_of(id) else { continue };
            let known = seen.pictures.iter().position(|known| *known == picture);
            let which = known.unwrap_or_else(|| {
                seen.pictures.push(picture);
                seen.pictures.len() - 1
            });
            seen.patches.push((place, which, patch));
        }
        (!seen.patches.is_empty()).then_some(seen)
    }
}

/// The id that a token's embedding is looked up by: 0 where a patch stands.
pub(super) fn token_id(id: u32) -> u32 {
    if patch_of(id).is_none() { id } else { 0 }
}

impl Eyes {
    /// All zero, to be filled.
    pub(super) fn zeroed(config: VisionConfig, d_model: usize, device: &Device) -> Self {
        let channels = config.channels();
        let convolution = |pair: &[usize]| Convolution {
            weight: filled([pair[1], pair[0], 3, 3], 0.0, device),
            bias: filled([pair[1]], 0.0, device),
        };
        Self {
            convolutions: channels.windows(2).map(convolution).collect(),
            output: Linear {
                weight: filled([channels[3], d_model], 0.0, device),
                bias: Some(filled([d_model], 0.0, device)),
            },
            places: filled([config.patches(), d_model], 0.0, device),
            pictures: None,
            config,
        }
    }

    /// A random start: variances are kept by convolutions (He et al. 2015); places as tokens' embeddings.
    fn drawn(mut self, coins: &mut impl Rng) -> Self {
        for one in &mut self.convolutions {
            let inputs = one.weight.dims()[1] * 9;
            draw(&mut one.weight, (2.0 / inputs as f64).sqrt(), coins);
        }
        let inputs = self.output.weight.dims()[0];
        draw(&mut self.output.weight, (inputs as f64).sqrt().recip(), coins);
        draw(&mut self.places, 0.02, coins);
        self
    }

    /// The embeddings of the patches of these pictures, picture after picture. `[M], -> [M P, D]`
    fn look(&self, pictures: &[usize], host: Option<&OnHost>) -> Tensor<2> {
        let all = self.pictures.as_ref().expect("the pictures were shown to the model");
        let places: Vec<i32> = pictures.iter().map(|picture| *picture as i32).collect();
        let places = TensorData::new(places, [pictures.len()]);
        let places = Tensor::<1, Int>::from_data(places, &all.device());
        self.encode(all.clone().select(0, places), host)
    }

    /// `[M, S, S, 3] -> [M P, D]`
    fn encode(&self, pictures: Tensor<4>, host: Option<&OnHost>) -> Tensor<2> {
        let dtype = self.output.weight.val().dtype();
        let stream = self
            .convolutions
            .iter()
            .fold(pictures.cast(dtype), |stream, one| activation::gelu(one.forward(stream, host)));
        let [count, height, width, channels] = stream.dims();
        let patches = stream.reshape([count * height * width, channels]);
        let bias = self.output.bias.as_ref().expect("eyes have one").val();
        let embedded = product((patches, self.output.weight.val(), bias), host);
        embedded + self.places.val().repeat_dim(0, count)
    }
}

/// Eyes of a model.
impl Transformer {
    /// With new eyes.
    ///
    /// # Panics
    /// If `config` does not [`validate`](VisionConfig::validate).
    #[must_use]
    pub fn with_eyes(mut self, config: VisionConfig, coins: &mut impl Rng) -> Self {
        config.validate().expect("the configuration was validated at the edge");
        let eyes = Eyes::zeroed(config, self.config().d_model, &self.device());
        self.eyes = Some(eyes.drawn(coins));
        self.config.vision = Some(config);
        self
    }

    /// What ids of patches speak of from now on.
    ///
    /// # Errors
    /// If it has no eyes, or for another size.
    pub fn looking_at(mut self, pictures: &Pictures) -> Result<Self, VisionError> {
        let device = self.device();
        let eyes = self.eyes.as_mut().ok_or(VisionError::Blind)?;
        let (found, expected) = (pictures.size, eyes.config.image_size);
        if found != expected {
            return Err(VisionError::Size { found, expected });
        }
        eyes.pictures = Some(pictures.on_device(&device));
        Ok(self)
    }

    /// The stream with patches at their places. `[B, T, D] -> [B, T, D]`
    pub(super) fn with_patches(&self, stream: Tensor<3>, seen: &Seen) -> Tensor<3> {
        let eyes = self.eyes.as_ref().expect("who reads pictures has eyes");
        let [batch, time, width] = stream.dims();
        let patches = eyes.config.patches();
        let mut from: Vec<i32> = (0..batch as i32 * time as i32).collect();
        for (place, picture, patch) in &seen.patches {
            from[*place] = (batch * time + picture * patches + patch) as i32;
        }
        let from = TensorData::new(from, [batch * time]);
        let from = Tensor::<1, Int>::from_data(from, &stream.device());
        let tokens = stream.reshape([batch * time, width]);
        let both = Tensor::cat(vec![tokens, eyes.look(&seen.pictures, self.host.as_deref())], 0);
        both.select(0, from).reshape([batch, time, width])
    }
}

/// Fresh values for a parameter. `[..]`
fn draw<const D: usize>(parameter: &mut Param<Tensor<D>>, deviation: f64, coins: &mut impl Rng) {
    let tensor = parameter.val();
    let shape = tensor.shape();
    let values = (0..shape.num_elements()).map(|_| (normal(coins) * deviation) as f32);
    let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
    *parameter = parameter.clone().map(|tensor| replace(tensor, data));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: VisionConfig = VisionConfig { image_size: 16, width: 2 };

    #[test]
    fn ids_of_patches_say_which_picture_and_which_patch() {
        let ids = [vec![7], patches(3, CONFIG), patches(0, CONFIG), patches(3, CONFIG)].concat();
        let seen = Seen::among(ids.iter().copied()).unwrap();
        assert_eq!(seen.pictures, [3, 0]);
        let expected: Vec<_> = (0..12).map(|i| (1 + i, [0, 1, 0][i / 4], i % 4)).collect();
        assert_eq!(seen.patches, expected);
        assert_eq!(ids.iter().map(|id| token_id(*id)).sum::<u32>(), 7);
        assert!(Seen::among([0, 5, 1 << 20].into_iter()).is_none());
    }

    #[test]
    fn sizes_that_no_eyes_have_are_refused() {
        for (image_size, width) in [(0, 4), (12, 4), (264, 4), (16, 0), (16, 1025)] {
            assert!(VisionConfig { image_size, width }.validate().is_err());
        }
        assert_eq!(CONFIG.validate(), Ok(()));
    }

    #[test]
    fn pictures_of_one_size_can_be_put_together() {
        let of = |size: usize| Pictures { size, pixels: vec![1; 3 * size * size] };
        let mut all = Pictures::default();
        all.append(&of(8)).unwrap();
        all.append(&of(8)).unwrap();
        assert_eq!((all.len(), all.size), (2, 8));
        assert_eq!(all.append(&of(16)), Err(VisionError::Size { found: 16, expected: 8 }));
    }
}
