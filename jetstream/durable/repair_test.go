package durable

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func writeFile(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRepairRewritesOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, young := filepath.Join(dir, "a", "old"), filepath.Join(dir, "a", "b", "young")
	if err := os.MkdirAll(filepath.Dir(young), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, old, 10)
	writeFile(t, young, 5000)
	writeFile(t, old+repairSuffix, 3)
	since := time.Now()
	if err := os.Chtimes(old, since, since.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	before := [2]os.FileInfo{stat(t, old), stat(t, young)}
	if err := repairStore(dir, since.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	after := [2]os.FileInfo{stat(t, old), stat(t, young)}
	if !os.SameFile(before[0], after[0]) || os.SameFile(before[1], after[1]) || after[1].Size() != 5000 || after[1].Mode() != before[1].Mode() {
		t.Errorf("old rewritten %v, young rewritten %v, %d bytes, mode %v", !os.SameFile(before[0], after[0]),
			!os.SameFile(before[1], after[1]), after[1].Size(), after[1].Mode())
	}
	if _, err := os.Stat(old + repairSuffix); !os.IsNotExist(err) {
		t.Errorf("left-over of an earlier repair: %v", err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
