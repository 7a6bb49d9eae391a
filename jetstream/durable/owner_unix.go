//go:build unix

package durable

import (
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// modesCount says that a file's mode is who may use it.
const modesCount = true

// ours reports whether a file belongs to root or to the user of this process.
func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return !ok || stat.Uid == 0 || int(stat.Uid) == os.Geteuid()
}

func userOf(info fs.FileInfo) string {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return "uid " + strconv.FormatUint(uint64(stat.Uid), 10)
	}
	return "unknown"
}

// ofOneUser reports whether a file's group is that of its user alone, which has the same
// number where systems make such groups; they let it write all that its user makes.
func ofOneUser(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && stat.Uid == stat.Gid && int(stat.Gid) == os.Getegid()
}

// forOurGroup reports whether a file belongs to root and to its group, or to the group of
// this process.
func forOurGroup(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid == 0 && (stat.Gid == 0 || int(stat.Gid) == os.Getegid())
}
