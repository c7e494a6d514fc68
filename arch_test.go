package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the prefix of our own import paths.
const module = "github.com/nrprobe/nrprobe/"

// goFile is what the rules need to know of one source file.
type goFile struct {
	path    string // "probes/stamp/sender.go"
	folder  string // "probes/stamp"
	test    bool
	imports []string
	doc     bool // has a package doc comment
	lines   int
}

// sources parses every Go file of the module.
func sources(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != "." || d.Name() == "node_modules" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, p, text, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, goFile{
			path: filepath.ToSlash(p), folder: path.Dir(filepath.ToSlash(p)), test: strings.HasSuffix(p, "_test.go"),
			imports: importPaths(parsed), doc: parsed.Doc != nil, lines: strings.Count(string(text), "\n"),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func importPaths(f *ast.File) []string {
	paths := make([]string, len(f.Imports))
	for i, spec := range f.Imports {
		paths[i], _ = strconv.Unquote(spec.Path.Value)
	}
	return paths
}

// rule forbids imports, with the reason that a failure prints.
type rule struct {
	from   func(goFile) bool
	forbid func(imported string) bool
	why    string
}

func below(prefix string) func(string) bool {
	return func(p string) bool { return p == prefix || strings.HasPrefix(p, prefix+"/") }
}

func ours(prefix string) func(string) bool { return below(module + prefix) }

func oneOf(tests ...func(string) bool) func(string) bool {
	return func(p string) bool {
		return slices.ContainsFunc(tests, func(f func(string) bool) bool { return f(p) })
	}
}

// kinds are the packages of probe kinds: they never import each other, and the collector imports none.
var kinds = []string{"stamp", "icmp", "tcp", "quic", "http", "dns", "throughput", "capacity", "responsiveness", "iperf3"}

// shared are the rooms that kinds build on.
var shared = []string{"client", "farend", "frame", "lease", "load"}

func isKind(p string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return ours("probes/" + k)(p) })
}

// mayImport says what of our own a kind may import: the vocabulary, units, the shared rooms, and its own packages.
func mayImport(kind string) func(string) bool {
	tests := []func(string) bool{
		func(p string) bool { return p == module+"probes" },
		ours("configs/unit"), ours("probes/" + kind),
	}
	for _, room := range shared {
		tests = append(tests, ours("probes/"+room))
	}
	return oneOf(tests...)
}

func rules() []rule {
	in := func(folder string) func(goFile) bool {
		return func(f goFile) bool { return below(folder)(f.folder) }
	}
	product := func(folder string) func(goFile) bool {
		return func(f goFile) bool { return !f.test && below(folder)(f.folder) }
	}
	list := []rule{
		{in("agent"), ours("collector"), "agent and collector never import each other: line protocol is all they share"},
		{in("collector"), ours("agent"), "agent and collector never import each other: line protocol is all they share"},
		{in("collector"), isKind, "the collector knows Results, not how they were measured"},
		{in("probes"), oneOf(ours("agent"), ours("collector"), ours("configs/cli")), "probes are the bottom of the house"},
		{product("configs/catalog"), func(p string) bool { return strings.Contains(p, ".") && !ours("configs/unit")(p) }, "the catalog needs the standard library and units only"},
		{product("configs/unit"), func(p string) bool { return strings.Contains(p, ".") }, "units need the standard library only"},
		{
			func(f goFile) bool { return !f.test && f.folder == "probes" },
			func(p string) bool {
				return strings.Contains(p, ".") && !ours("configs/catalog")(p) && !ours("configs/unit")(p) || below("net/http")(p)
			},
			"the vocabulary imports no YAML, no Prometheus, no HTTP: everything else speaks it",
		},
		{
			func(f goFile) bool { return !f.test && !below("collector")(f.folder) },
			below("github.com/prometheus/prometheus"),
			"the embedded store belongs to the collector: agents stay small",
		},
		{
			func(f goFile) bool {
				return !f.test && f.folder != "configs/demo" && !below("probes/netsim")(f.folder) && !below("probes/probetest")(f.folder)
			},
			oneOf(ours("probes/netsim"), ours("probes/probetest"), ours("collector/sinks/sinktest")),
			"emulation and test kits are for tests and for the demo",
		},
		{
			func(f goFile) bool { return !f.test },
			oneOf(below("github.com/google/go-cmp"), below("github.com/chromedp"), below("testing")),
			"test libraries stay out of the program",
		},
	}
	for _, kind := range kinds {
		list = append(list,
			rule{in("probes/" + kind), func(p string) bool { return isKind(p) && !ours("probes/"+kind)(p) }, "kinds never import each other"},
			rule{
				product("probes/" + kind),
				func(p string) bool { return below(strings.TrimSuffix(module, "/"))(p) && !mayImport(kind)(p) },
				"a kind knows the vocabulary, units and the rooms that kinds share",
			},
		)
	}
	for _, room := range shared {
		list = append(list, rule{
			product("probes/" + room),
			func(p string) bool {
				return ours("probes")(p) && p != module+"probes" && !ours("probes/farend")(p) && !ours("probes/frame")(p) && !ours("probes/"+room)(p) || ours("configs/cli")(p)
			},
			"what kinds share stands below them",
		})
	}
	return list
}

func TestArrows(t *testing.T) {
	for _, f := range sources(t) {
		for _, r := range rules() {
			if !r.from(f) {
				continue
			}
			for _, imported := range f.imports {
				if r.forbid(imported) && !below("probes/probetest")(f.folder) && !below("collector/sinks/sinktest")(f.folder) {
					t.Errorf("%s imports %s: %s", f.path, imported, r.why)
				}
			}
		}
	}
}

func TestTopLevel(t *testing.T) {
	allowed := []string{"agent", "collector", "probes", "dashboards", "configs", "main.go", "arch_test.go", "go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		built := name == "nrprobe" || name == "bin" || name == "dist" // what the Makefile writes and git ignores
		if !strings.HasPrefix(name, ".") && !built && !slices.Contains(allowed, name) {
			t.Errorf("%s does not belong to the top level: the five folders carry everything", name)
		}
	}
}

func TestEveryPackageHasOneDoc(t *testing.T) {
	docs, seen := map[string]int{}, map[string]bool{}
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		seen[f.folder] = true
		if f.doc {
			docs[f.folder]++
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(seen)) {
		if docs[folder] != 1 {
			t.Errorf("%s has %d package comments, want one", folder, docs[folder])
		}
	}
}

func TestFilesAreOneThing(t *testing.T) {
	for _, f := range sources(t) {
		if limit := 400; f.lines > limit && !f.test {
			t.Errorf("%s has %d lines: above %d a file is rarely one thing", f.path, f.lines, limit)
		}
		if strings.Contains(path.Base(f.folder), "util") || slices.Contains([]string{"common", "helpers", "types", "base"}, path.Base(f.folder)) {
			t.Errorf("%s: a package is named for what it is", f.folder)
		}
	}
}

func TestNoInit(t *testing.T) {
	fset := token.NewFileSet()
	for _, f := range sources(t) {
		parsed, err := parser.ParseFile(fset, f.path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has func init: what happens at start-up is written in main", f.path)
			}
		}
	}
}
