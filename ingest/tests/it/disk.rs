//! A disk of our own: a loop-mounted ext4 image, to be copied or filled.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::tell;

/// A mounted image; unmounted when it goes, whatever happened.
pub struct Disk {
    image: PathBuf,
    at: PathBuf,
}

impl Disk {
    /// Makes an empty disk in `folder`.
    ///
    /// # Errors
    /// Where this machine lets us mount nothing.
    pub fn make(folder: &Path, bytes: u64) -> Result<Self, String> {
        let image = folder.join("disk");
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(bytes).map_err(|error| error.to_string())?;
        let sbin = "/sbin/mkfs.ext4";
        let mkfs = if Path::new(sbin).exists() { sbin } else { "mkfs.ext4" };
        run(mkfs, &["-q".as_ref(), image.as_ref()])?;
        Self::mount(image, folder.join("mounted"))
    }

    /// An empty disk in memory, so small that it is soon full.
    ///
    /// # Errors
    /// Where this machine lets us mount nothing.
    pub fn in_memory(at: &Path, bytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let size = format!("size={bytes}");
        let words: [&OsStr; 6] = [
            "-t".as_ref(),
            "tmpfs".as_ref(),
            "-o".as_ref(),
            size.as_ref(),
            "none".as_ref(),
            at.as_ref(),
        ];
        run("mount", &words)?;
        Ok(Self { image: at.join("none"), at: at.to_path_buf() })
    }

    /// Mounts it anew, `ro` or `rw`.
    ///
    /// # Errors
    /// Where somebody still writes to it.
    pub fn remount(&self, how: &str) -> Result<(), String> {
        let option = format!("remount,{how}");
        run("mount", &["-o".as_ref(), option.as_ref(), self.at.as_ref()])
    }

    /// The disk as it is now, as if the power had gone: what is not yet written is not in it.
    pub fn cut(&self, name: &str) -> Result<Self, String> {
        let folder = self.image.parent().ok_or("no folder")?;
        let image = folder.join(format!("{name}.image"));
        run("cp", &["--sparse=always".as_ref(), self.image.as_ref(), image.as_ref()])?;
        Self::mount(image, folder.join(name))
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    fn mount(image: PathBuf, at: PathBuf) -> Result<Self, String> {
        std::fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_ref(), at.as_ref()])?;
        Ok(Self { image, at })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process just started by another test may hold our files until it is another program.
        let unmounted = (0..100).any(|_| {
            run("umount", &[self.at.as_ref()]).is_ok() || {
                std::thread::sleep(Duration::from_millis(20));
                false
            }
        });
        if !unmounted {
            let _ = run("umount", &["--lazy".as_ref(), self.at.as_ref()]);
        }
        let _ = std::fs::remove_file(&self.image);
    }
}

/// Tells that a test did nothing.
pub fn skipped(test: &str, reason: &str) {
    tell(&format!("SKIPPED {test}: no loop-mounted ext4 here ({reason})"));
}

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
