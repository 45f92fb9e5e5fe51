//! A panic in one direction: neither side may take what it got for all there was.

use super::*;

/// Passes bytes on, and has a fault.
struct Faulty;

impl Protocol for Faulty {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        assert!(!input.contains(&b'!'), "as the test wants it");
        Identity.forward(direction, input, out)
    }
}

#[tokio::test]
async fn a_panic_resets_both_sides() {
    let (mut app, accepted) = connection().await;
    let (mut backend, dialled) = connection().await;
    let timeouts = Timeouts::new(Duration::from_secs(300));
    let running = tokio::spawn(Relay::new(accepted, dialled, Flows::new(Faulty), timeouts).run());
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
