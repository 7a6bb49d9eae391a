//go:build !unix

package durable

import "io/fs"

// modesCount says that a file's mode is who may use it: here its access list is, which is
// not looked at.
const modesCount = false

func ours(fs.FileInfo) bool        { return true }
func ofOneUser(fs.FileInfo) bool   { return true }
func forOurGroup(fs.FileInfo) bool { return true }
func userOf(fs.FileInfo) string    { return "unknown" }
