//! The lines of a check, and what they come to.

use crate::telemetry::KeptWarnings;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// What a line says of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It goes on all the same.
    Odd,
    /// Without it nothing works.
    Fails,
    /// It cannot be found out.
    Unknown,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Odd => "odd",
            Verdict::Fails => "fails",
            Verdict::Unknown => "unknown",
        }
    }
}

/// Prints what is found, and counts it.
pub(super) struct Report {
    /// What the program would warn of in its log.
    warnings: KeptWarnings,
    out: Box<dyn Write + Send>,
    odd: usize,
    unknown: usize,
    failed: usize,
}

impl Report {
    /// Prints to stdout.
    pub(super) fn new(warnings: KeptWarnings) -> Report {
        Report::to(warnings, Box::new(std::io::stdout()))
    }

    fn to(warnings: KeptWarnings, out: Box<dyn Write + Send>) -> Report {
        Report { warnings, out, odd: 0, unknown: 0, failed: 0 }
    }

    pub(super) fn ok(&mut self, step: &str, found: impl Display) {
        self.line(Verdict::Ok, step, &found);
    }

    pub(super) fn odd(&mut self, step: &str, found: impl Display) {
        self.line(Verdict::Odd, step, &found);
    }

    pub(super) fn fails(&mut self, step: &str, found: impl Display) {
        self.line(Verdict::Fails, step, &found);
    }

    pub(super) fn unknown(&mut self, step: &str, found: impl Display) {
        self.line(Verdict::Unknown, step, &found);
    }

    /// Tells what has been warned of meanwhile.
    pub(super) fn odd_ones(&mut self, step: &str) {
        for warning in self.warnings.take() {
            self.odd(step, warning);
        }
    }

    /// What has been warned of meanwhile, to be left out where a line of this report says it.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        self.warnings.take()
    }

    fn line(&mut self, verdict: Verdict, step: &str, found: &dyn Display) {
        match verdict {
            Verdict::Ok => {}
            Verdict::Odd => self.odd += 1,
            Verdict::Fails => self.failed += 1,
            Verdict::Unknown => self.unknown += 1,
        }
        // What others say may be in it.
        let found: String = found.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // A reader that has seen enough (`| head`) is no failure.
        let _ = writeln!(self.out, "{:<8} {step}: {found}", verdict.word());
        let _ = self.out.flush();
    }

    /// Prints what it comes to.
    pub(super) fn end(mut self) -> ExitCode {
        let number = |number: usize, one: &str, many: &str| match number {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{number} {many}")),
        };
        let counts = [
            number(self.failed, "step fails", "steps fail"),
            number(self.odd, "thing is odd", "things are odd"),
            number(self.unknown, "thing is not known", "things are not known"),
        ];
        let mut counts: Vec<_> = counts.into_iter().flatten().collect();
        if self.failed == 0 {
            counts.insert(0, "nothing fails".to_owned());
        }
        let _ = writeln!(self.out, "{}", counts.join(", "));
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(write: impl FnOnce(&mut Report)) -> (String, bool) {
        let paper = Paper::default();
        let mut report = Report::to(KeptWarnings::default(), Box::new(paper.clone()));
        write(&mut report);
        let code = report.end();
        let text = String::from_utf8(paper.0.lock().unwrap().clone()).unwrap();
        (text, format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS))
    }

    #[test]
    fn a_step_is_a_line_and_only_what_fails_counts() {
        let (text, well) = written(|report| {
            report.ok("role", "client");
            report.odd("options", "two\nlines\u{1b}[31m");
            report.unknown("upgrade", "late");
        });
        assert_eq!(
            text,
            "ok       role: client\nodd      options: two lines [31m\nunknown  upgrade: late\n\
             nothing fails, 1 thing is odd, 1 thing is not known\n"
        );
        assert!(well);
        let (text, well) = written(|report| {
            report.fails("connect", "refused");
            report.fails("listen", "taken");
        });
        assert!(text.ends_with("\n2 steps fail\n"), "{text}");
        assert!(!well);
    }

    #[test]
    fn what_is_warned_of_is_told_once_or_not_at_all() {
        let warnings = KeptWarnings::default();
        let paper = Paper::default();
        let mut report = Report::to(warnings.clone(), Box::new(paper.clone()));
        warnings.keep("a warning".to_owned());
        report.odd_ones("options");
        report.odd_ones("options");
        warnings.keep("another".to_owned());
        assert_eq!(report.take_warnings(), ["another"]);
        report.odd_ones("options");
        assert_eq!(paper.0.lock().unwrap().as_slice(), b"odd      options: a warning\n");
    }
}
