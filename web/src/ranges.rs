//! What a download asks for and what the answer means: byte ranges (RFC 9110, section 14), pieces, pauses.

/// Length in bytes of every kept piece but the last.
pub const PIECE_BYTES: u64 = 1 << 20;
/// Attempts in a row without one new byte, the first included.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE_MS: i32 = 500;

/// What a server's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The bytes from the place asked for follow.
    Continues,
    /// All bytes follow.
    FromStart,
    /// What is kept does not fit to what the server has.
    Mismatch,
    /// Come again later.
    Busy,
    /// No.
    Refused,
}

/// What an answer of `status` with this `Content-Range` means to a request from byte `from` on.
pub fn read_answer(status: u16, content_range: Option<&str>, from: u64) -> Answer {
    match status {
        206 => match content_range.map(range_start) {
            None => Answer::Continues,
            Some(Some(start)) if start == from => Answer::Continues,
            Some(_) => Answer::Mismatch,
        },
        200 => Answer::FromStart,
        416 => Answer::Mismatch,
        408 | 425 | 429 | 500..=599 => Answer::Busy,
        _ => Answer::Refused,
    }
}

/// First byte that `bytes FIRST-LAST/LENGTH` names.
fn range_start(content_range: &str) -> Option<u64> {
    let (first, _) = content_range.trim().strip_prefix("bytes")?.trim_start().split_once('-')?;
    first.parse().ok()
}

/// Where piece `index` of `total` bytes begins and ends; none beyond the last.
pub fn piece(index: u64, total: u64) -> Option<(u64, u64)> {
    let begin = index * PIECE_BYTES;
    (begin < total).then(|| (begin, total.min(begin + PIECE_BYTES)))
}

/// Milliseconds to wait after this many failures in a row; none = give up.
pub fn pause_ms(failures: u32) -> Option<i32> {
    (failures < ATTEMPTS).then(|| FIRST_PAUSE_MS << failures.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, content_range: Option<&str>, expected: Answer) {
        assert_eq!(
            read_answer(status, content_range, 1024),
            expected,
            "{status} {content_range:?}"
        );
    }

    #[test]
    fn an_answer_goes_on_only_where_the_request_asked() {
        check(206, Some("bytes 1024-2047/2048"), Answer::Continues);
        check(206, Some("bytes 1024-2047/*"), Answer::Continues);
        check(206, None, Answer::Continues);
        check(206, Some("bytes 0-2047/2048"), Answer::Mismatch);
        check(206, Some("nonsense"), Answer::Mismatch);
        check(200, None, Answer::FromStart);
        check(416, Some("bytes */512"), Answer::Mismatch);
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        for status in [408, 429, 500, 503] {
            check(status, None, Answer::Busy);
        }
        for status in [301, 401, 403, 404, 410] {
            check(status, None, Answer::Refused);
        }
    }

    #[test]
    fn pieces_cover_the_file_once() {
        for total in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES + 7] {
            let mut end = 0;
            for index in 0.. {
                let Some((from, to)) = piece(index, total) else { break };
                assert_eq!(from, end);
                assert!(to > from && to - from <= PIECE_BYTES);
                end = to;
            }
            assert_eq!(end, total);
        }
    }

    #[test]
    fn pauses_double_until_the_fourth_failure_gives_up() {
        assert_eq!([1, 2, 3, 4].map(pause_ms), [Some(500), Some(1000), Some(2000), None]);
    }
}
