//! A panic in one direction: neither side may take what it got for all there was.

use super::*;

/// Passes bytes on, and has a fault.
struct Faulty;

impl Codec for Faulty {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        assert!(!input.contains(&b'!'), "as the test wants it");
        Identity.pass(input, out)
    }
}

#[tokio::test]
async fn a_panic_resets_both_sides() {
    let (mut app, near) = connection().await;
    let (mut backend, far) = connection().await;
    let (up, down) = (Flow::new(Faulty), Flow::new(Identity));
    let timeouts = Timeouts::new(Duration::from_secs(300));
    let running = tokio::spawn(Relay::new(near, far, up, down, timeouts).run());
    app.write_all(b"some").await.unwrap();
    let mut some = [0; 4];
    backend.read_exact(&mut some).await.unwrap();
    app.write_all(b"!").await.unwrap();
    assert!(running.await.unwrap_err().is_panic());
    for side in [&mut app, &mut backend] {
        let read = timeout(Duration::from_secs(20), side.read(&mut some)).await.expect("the end");
        assert_eq!(read.expect_err("no end in order").kind(), ErrorKind::ConnectionReset);
    }
}
