//! System calls of a process that a test refuses, holds up and allows again while the process runs: each resource can
//! run out, and be there again.

use super::child::Child;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The system call that is asked for, as the kernel tells it.
pub struct Asked(libc::seccomp_notif);

impl Asked {
    pub fn argument(&self, index: usize) -> u64 {
        self.0.data.args[index]
    }
}

enum Rule {
    /// It fails with this error where it is one of those that are meant.
    Refuse(i32, Box<dyn Fn(&Asked) -> bool + Send>),
    /// It waits until it is allowed.
    Hold,
}

#[derive(Default)]
struct State {
    rules: HashMap<libc::c_long, Rule>,
    held: Vec<u64>,
    refused: usize,
}

/// The gate in front of some system calls of a process and of those that it starts. All of them pass at first.
pub struct Gate {
    state: Arc<Mutex<State>>,
    listener: Arc<OwnedFd>,
}

/// Starts a command whose process asks the test before it makes one of these calls.
#[track_caller]
pub fn gated(name: &str, mut command: Command, calls: &'static [libc::c_long]) -> (Child, Gate) {
    assert!(!calls.contains(&libc::SYS_sendmsg), "that is how the gate comes to be here");
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (ours, theirs) = pair.expect("a pair of sockets");
    // SAFETY: the function makes system calls, and has nothing but its own stack.
    unsafe { command.pre_exec(move || hand_over(ask_before(calls)?, theirs.as_fd())) };
    let child = Child::spawn(name, command);
    (child, Gate::at(&ours))
}

impl Gate {
    /// The one whose descriptor comes from here.
    #[track_caller]
    fn at(ours: &OwnedFd) -> Gate {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(ours, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .expect("what the process sends");
        let listener = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let listener = Arc::new(listener.expect("a descriptor"));
        let state = Arc::<Mutex<State>>::default();
        let (of_thread, listened_on) = (state.clone(), listener.clone());
        std::thread::spawn(move || answer_all(&of_thread, &listened_on));
        Gate { state, listener }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this call fails with this error.
    pub fn refuse(&self, call: libc::c_long, error: i32) {
        self.refuse_where(call, error, |_| true);
    }

    /// The same for those among them that are meant.
    pub fn refuse_where(
        &self,
        call: libc::c_long,
        error: i32,
        is_meant: impl Fn(&Asked) -> bool + Send + 'static,
    ) {
        self.state().rules.insert(call, Rule::Refuse(error, Box::new(is_meant)));
    }

    /// From now on this call waits.
    pub fn hold(&self, call: libc::c_long) {
        self.state().rules.insert(call, Rule::Hold);
    }

    /// How many calls wait.
    pub fn held(&self) -> usize {
        self.state().held.len()
    }

    /// Everything passes again.
    pub fn open(&self) {
        let mut state = self.state();
        state.rules.clear();
        for id in std::mem::take(&mut state.held) {
            answer(&self.listener, id, 0);
        }
    }

    /// How many calls have been refused.
    pub fn refused(&self) -> usize {
        self.state().refused
    }
}

fn answer_all(state: &Mutex<State>, listener: &OwnedFd) {
    loop {
        let mut events = [PollFd::new(listener, PollFlags::IN)];
        match poll(&mut events, None) {
            Ok(_) if events[0].revents().contains(PollFlags::IN) => {}
            Err(rustix::io::Errno::INTR) => continue,
            // The processes are gone.
            _ => return,
        }
        // SAFETY: the kernel takes and fills the structure, for which all bytes zero are a value.
        let asked = unsafe {
            let mut asked: libc::seccomp_notif = std::mem::zeroed();
            if libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut asked) != 0 {
                // Whoever asked has gone.
                continue;
            }
            Asked(asked)
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match state.rules.get(&libc::c_long::from(asked.0.data.nr)) {
            None => 0,
            Some(Rule::Hold) => {
                state.held.push(asked.0.id);
                continue;
            }
            Some(Rule::Refuse(error, is_meant)) => i32::from(is_meant(&asked)) * error,
        };
        state.refused += usize::from(error != 0);
        answer(listener, asked.0.id, error);
    }
}

/// Lets a call pass, or fail with an error. One that a signal has interrupted is asked for anew.
fn answer(listener: &OwnedFd, id: u64, error: i32) {
    let flags = if error == 0 { libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32 } else { 0 };
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: -error, flags };
    // SAFETY: the kernel reads the structure.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
}

/// Puts the filter on this process. Returns the descriptor at which it asks.
fn ask_before(calls: &[libc::c_long]) -> io::Result<OwnedFd> {
    const MOST: usize = 64;
    let statement = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    let mut filter = [allow; MOST];
    // The number is the first word of what a filter may look at.
    filter[0] = statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0);
    for (index, &call) in calls.iter().enumerate() {
        let equals = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, call as u32);
        // Over the others, and over the statement that allows.
        filter[1 + index] = libc::sock_filter { jt: (calls.len() - index) as u8, ..equals };
    }
    filter[2 + calls.len()] = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF);
    let program = libc::sock_fprog { len: (3 + calls.len()) as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live until the calls have copied them; the descriptor is new.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
        let listener =
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program);
        if listener < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(listener as i32))
    }
}

/// Nobody answers before the program is executed, with which the descriptor goes: to close it here might be one of the
/// calls that are asked for.
fn hand_over(listener: OwnedFd, to: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let listener = ManuallyDrop::new(listener);
    let descriptors = [listener.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(to, &[IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())?;
    Ok(())
}
