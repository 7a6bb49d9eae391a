package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/fincart/courier-gateway"

// arrows says which packages of this module each package may import; nothing
// means none. A package that is not listed must not exist.
var arrows = map[string][]string{
	"ingest/event":            {"ingest/event/shipment"},
	"ingest/jsontext":         {},
	"ingest/signature":        {"ingest/event", "ingest/jsontext", "ingest/signature/jwks", "ingest/signature/values"},
	"ingest/signature/jwks":   {},
	"ingest/signature/values": {"ingest/jsontext"},
	"ingest/payload":          {"ingest/event", "ingest/jsontext"},
	"ingest/address":          {},
	"ingest/certificate":      {},
	"ingest/framing":          {},
	"ingest/connlimit":        {"ingest/address"},
	"ingest/body":             {"ingest/connlimit", "ingest/framing"},
	"ingest/limits":           {"ingest/address", "ingest/event"},
	"ingest/media":            {"ingest/event", "ingest/framing"},
	"ingest/record":           {"ingest/address", "ingest/event", "ingest/signature"},
	"ingest": {"ingest/address", "ingest/body", "ingest/certificate", "ingest/connlimit", "ingest/event", "ingest/framing", "ingest/jsontext", "ingest/limits", "ingest/media", "ingest/payload",
		"ingest/record", "ingest/signature", "ingest/signature/jwks"},
	"jetstream":           {"ingest/event", "jetstream/dedup", "jetstream/durable", "jetstream/embedconn", "jetstream/embedded", "jetstream/external", "jetstream/integrity", "jetstream/pull"},
	"jetstream/dedup":     {},
	"jetstream/durable":   {},
	"jetstream/embedconn": {"ingest/event", "ingest/jsontext"},
	"jetstream/embedded":  {},
	"jetstream/external":  {"ingest/event"},
	"jetstream/integrity": {"ingest/event", "jetstream/durable"},
	"jetstream/pull":      {"ingest/event"},
	"process":             {"ingest/event", "ingest/jsontext", "process/journey"},
	"process/journey":     {"ingest/event"},
	"ops":                 {"ingest/event"},
	"ops/admin":           {"ingest/event", "ops"},
	"ops/client":          {"ingest/event", "ops"},
	"ops/terminal":        {},
	"ops/cli":             {"ingest/event", "ops", "ops/client", "ops/terminal"},
	"ops/admintest":       {"ingest/event", "ops", "ops/admin"},
	"bench":               {"ingest/event", "ingest/jsontext", "ingest/signature", "ingest/signature/jwks"},
	"bench/proof":         {"bench", "ingest/event", "ingest/jsontext"},
	"bench/load":          {"bench", "bench/proof", "ingest/event", "ingest/jsontext", "ingest/signature"},
	"bench/compare":       {"ingest/jsontext", "ingest/signature"}, // a program of its own: nothing imports it
	"appliance": {"appliance/app", "appliance/config", "appliance/config/samples", "bench", "bench/load", "ingest", "ingest/event", "ingest/payload", "ingest/signature", "ingest/signature/jwks",
		"ops/cli", "ops/client", "ops/terminal", "process"},
	"appliance/app": {"appliance/config", "bench/proof", "ingest", "ingest/certificate", "ingest/event", "ingest/payload", "ingest/signature", "ingest/signature/jwks",
		"jetstream", "ops", "ops/admin", "ops/client", "ops/terminal", "persistence", "persistence/mongo", "persistence/redis", "persistence/sqlite", "process"},
	"appliance/config/sdktest":    {"appliance/config/sendertest", "ingest", "ingest/event", "ingest/signature", "ingest/signature/jwks"},
	"appliance/config/samples":    {},
	"appliance/config/sendertest": {"appliance/config", "appliance/config/samples", "ingest/event", "ingest/payload", "ingest/signature", "ingest/signature/jwks"},
	"appliance/config":            {"ingest", "ingest/event", "ingest/media", "ingest/payload", "ingest/signature", "ingest/signature/jwks", "jetstream", "jetstream/durable", "ops/admin", "persistence", "persistence/mongo", "persistence/redis", "process"},

	// Parts of the vocabulary. Who may import ingest/event may import them.
	"ingest/event/ingestion": {"ingest/event"},
	"ingest/event/loss":      {},
	"ingest/event/reprocess": {"ingest/event"},
	"ingest/event/shipment":  {},
	"ingest/event/stamp":     {"ingest/event"},

	"persistence":           {"ingest/event"},
	"persistence/sqlite":    {"ingest/event", "ingest/jsontext", "persistence"},
	"persistence/mongo":     {"ingest/event", "ingest/jsontext", "persistence"},
	"persistence/redis":     {"ingest/event", "ingest/jsontext", "persistence"},
	"persistence/storetest": {"ingest/event", "persistence"},
}

// testArrows says what the tests of a package may import besides: what they feed it,
// and what they check it against.
var testArrows = map[string][]string{
	"ops/admin":        {"ops/admintest"},
	"ops/client":       {"ops/admin", "ops/admintest"},
	"ops/cli":          {"ops/admin", "ops/admintest"},
	"process":          {"ingest/payload"},
	"bench/load":       {"ingest/payload"},
	"bench/proof":      {"ingest/payload"},
	"appliance":        {"appliance/config/sendertest", "ops", "persistence/sqlite"},
	"appliance/config": {"appliance/config/sendertest", "process/journey"},
	"appliance/app":    {"appliance/config/sendertest"},

	"persistence":        {"persistence/storetest"},
	"persistence/sqlite": {"persistence/storetest"},
	"persistence/mongo":  {"persistence/storetest"},
	"persistence/redis":  {"persistence/storetest"},
}

// territory says where a library may be imported. The longest prefix counts, and
// what has none may be imported nowhere.
var territory = map[string][]string{
	"github.com/valyala/fasthttp":      {"ingest", "ingest/framing", "bench/load", "bench/compare"},
	"github.com/nats-io":               {"jetstream", "jetstream/dedup", "jetstream/embedconn", "jetstream/embedded", "jetstream/external", "jetstream/integrity", "jetstream/pull"}, // dedup and embedconn in tests
	"github.com/minio/highwayhash":     {"jetstream/dedup", "jetstream/embedded"},
	"github.com/gofrs/flock":           {"jetstream/durable"},
	"go.mongodb.org":                   {"persistence/mongo"},
	"github.com/redis":                 {"persistence/redis", "bench/compare"},
	"zombiezen.com/go/sqlite":          {"persistence/sqlite"},
	"modernc.org":                      {"persistence/sqlite"},
	"github.com/hashicorp/golang-lru":  {"persistence"},
	"github.com/FerretDB":              {"persistence/mongo", "appliance"}, // in tests
	"github.com/tsenart/vegeta":        {"bench/load"},
	"github.com/knadh/koanf":           {"appliance/config"},
	"github.com/go-viper/mapstructure": {"appliance/config"},
	"github.com/pelletier/go-toml":     {"appliance/config"},
	"github.com/agnivade/levenshtein":  {"appliance/config"},
	"github.com/rivo/uniseg":           {"ops/terminal"},
	"github.com/coreos/go-systemd":     {"appliance"},
	"github.com/spf13/cobra":           {"appliance", "ops/cli", "bench", "bench/load"},
	"github.com/spf13/pflag":           {"appliance", "bench/load"},
	"github.com/prometheus":            {"appliance", "appliance/app", "appliance/config/sdktest", "ingest", "jetstream", "jetstream/integrity", "process", "persistence", "persistence/mongo", "persistence/redis", "persistence/sqlite", "ops/admin", "ops/admintest"},
	"golang.org/x/sys":                 {"appliance", "jetstream", "jetstream/durable", "persistence/sqlite", "bench/load"},
	"golang.org/x/term":                {"appliance", "ops/terminal"},
	"golang.org/x/time":                {"ingest", "ingest/limits", "ingest/record"},
	"golang.org/x/text":                {"ingest/signature", "appliance/config/sdktest"},

	// The senders' own libraries: in that package, which has tests only.
	"github.com/EasyPost":          {"appliance/config/sdktest"},
	"github.com/google/go-github":  {"appliance/config/sdktest"},
	"github.com/standard-webhooks": {"appliance/config/sdktest"},
	"github.com/stripe":            {"appliance/config/sdktest"},
	"github.com/svix":              {"appliance/config/sdktest"},
}

// topLevel is everything that may stand at the root of the repository.
var topLevel = []string{
	"appliance", "ingest", "process", "jetstream", "persistence", "bench", "ops", "docs", "data",
	"go.mod", "go.sum", "justfile", "compose.yaml", "Dockerfile", "appliance.toml", "README.md", "CHANGELOG.md", "LICENSE",
}

func TestImportArrows(t *testing.T) {
	seen := map[string]bool{}
	walkGo(t, func(file, dir string, imports []string) {
		seen[dir] = true
		allowed, known := arrows[dir]
		if !known {
			t.Errorf("%s: there is no package %s in the layout", file, dir)
			return
		}
		isTest := strings.HasSuffix(file, "_test.go")
		if isTest {
			allowed = append(slices.Clone(allowed), append(testArrows[dir], dir)...)
		}
		for _, imp := range imports {
			ours, isOurs := strings.CutPrefix(imp, module+"/")
			switch {
			case isOurs && !slices.Contains(allowed, ours) && (!isVocabulary(ours) || !slices.Contains(allowed, "ingest/event")):
				t.Errorf("%s imports %s; it may import %v of this module", file, ours, allowed)
			case isOurs || !strings.Contains(strings.Split(imp, "/")[0], "."):
			case !slices.Contains(homes(imp), dir):
				t.Errorf("%s imports %s, which belongs in %v: arrows_test.go says where a library may be imported", file, imp, homes(imp))
			case strings.HasPrefix(imp, "github.com/FerretDB") && !isTest:
				t.Errorf("%s imports %s, which is for tests", file, imp)
			}
		}
	})
	for dir := range arrows {
		if !seen[dir] {
			t.Errorf("package %s of the layout does not exist", dir)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s does not belong at the top level", e.Name())
		}
	}
}

// isVocabulary reports whether a package is a part of the vocabulary below ingest/event.
func isVocabulary(dir string) bool { return strings.HasPrefix(dir, "ingest/event/") }

// homes returns the packages that may import a library.
func homes(imp string) []string {
	for prefix := imp; prefix != "."; prefix = path.Dir(prefix) {
		if dirs, listed := territory[prefix]; listed {
			return dirs
		}
	}
	return nil
}

// walkGo calls visit for every Go file of the module, tests included.
func walkGo(t *testing.T, visit func(file, dir string, imports []string)) {
	t.Helper()
	root := ".."
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && name != root {
			return filepath.SkipDir
		}
		if entry.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, imp)
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), path.Dir(filepath.ToSlash(rel)), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
