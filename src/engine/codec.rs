//! Messages to bytes and back, as prost does it, with buffers of the size that calls about jobs need.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::ProstCodec;

/// What each call has ready for its request and for its answer, bytes; larger messages grow it. tonic's own 8 KiB are most
/// of the memory that a call asks for, and too large for the part of the allocator that threads need not share.
const BUFFER: usize = 1024;
/// How much a stream sends at once, bytes: tonic's own figure.
const SENT_AT_ONCE: usize = 32 * 1024;

/// prost's codec with small buffers.
#[derive(Clone, Debug)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = <ProstCodec<T, U> as Codec>::Encoder;
    type Decoder = <ProstCodec<T, U> as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER, SENT_AT_ONCE))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER, SENT_AT_ONCE))
    }
}
