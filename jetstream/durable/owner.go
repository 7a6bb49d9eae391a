package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Owned returns an error when somebody else could have put a file at path, or could
// change it: when it is a symbolic link, belongs to a user who is neither root nor the
// one that this process runs as, or can be written by a group or by all. There being
// nothing is no error.
func Owned(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file but %s, which somebody else may have put there: look at it, and remove it if it is not yours", path, kindOf(info.Mode()))
	}
	return owned(path, info)
}

// OwnedTarget is [Owned] for what a link at path leads to, whoever has made the link: where
// secrets are mounted, links are how they are replaced.
func OwnedTarget(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return owned(path, info)
}

// OwnedDir is [Owned] for a directory. A link to one is followed if it belongs to root or
// to this user: service managers make such links, and no other user can have made that one.
func OwnedDir(path string) error {
	link, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	info, statErr := os.Stat(path)
	switch {
	case errors.Join(err, statErr) != nil:
		return errors.Join(err, statErr)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory but %s", path, kindOf(info.Mode()))
	}
	if isLink := link.Mode()&fs.ModeSymlink != 0; isLink && !ours(link) {
		return fmt.Errorf("%s is a symbolic link of another user (%s): name the directory itself, if it is yours", path, userOf(link))
	}
	return owned(path, info)
}

// owned returns what is wrong with the owner or the mode of a file.
func owned(path string, info fs.FileInfo) error {
	writers := info.Mode().Perm() & 0o022
	if ofOneUser(info) {
		writers &^= 0o020
	}
	switch {
	case !ours(info):
		return fmt.Errorf("%s belongs to another user (%s), who may have planted it: name another one, or give it to this user, chown %d %s",
			path, userOf(info), os.Geteuid(), path)
	case modesCount && writers != 0:
		return fmt.Errorf("%s can be written by other users (mode %04o): look at what is there, then run chmod go-w %s", path, info.Mode().Perm(), path)
	default:
		return nil
	}
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return "a file"
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	default:
		return "a special file (" + mode.Type().String() + ")"
	}
}

// Readable returns which users can read a file besides its owner, as words for people, ""
// for none. A group that a file of root has in common with this process is meant to read it.
func Readable(info fs.FileInfo) string {
	mode := info.Mode().Perm()
	switch {
	case !modesCount:
		return ""
	case mode&0o004 != 0:
		return fmt.Sprintf("every user of this machine (mode %04o)", mode)
	case mode&0o040 != 0 && !forOurGroup(info):
		return fmt.Sprintf("its group (mode %04o)", mode)
	default:
		return ""
	}
}
