package configs

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/nrprobe/nrprobe/configs/catalog"
)

// Report walks a YAML document into Go values and collects what is wrong on the way. It belongs to one Load.
type Report struct {
	file     string
	lookup   func(string) (string, bool)
	problems Problems
	budget   int // nodes still to be visited: bounds what aliases can expand to
}

// NodeDecoder is a value that decides itself how a node becomes its content, for instance because one key of it
// ("kind") names the type of the rest. It reports problems and never fails.
type NodeDecoder interface {
	DecodeNode(r *Report, n *yaml.Node, path string)
}

// Validator is a configuration value that has more to check than one field at a time.
type Validator interface {
	// Validate reports what is wrong through r.Problem. It is called when the value was decoded, also when something of it
	// could not be, which then has its default or what its type begins with: so that all problems show at once. What it
	// reports at a key that has a problem already is dropped; a rule that looks at other keys than the one that it reports
	// at asks r.Good for those first.
	Validate(r *Report, at At)
}

// At is a place in a file: the mapping that a value was read from. It knows the problems that the mapping had when it was
// decoded.
type At struct {
	node        *yaml.Node
	path        string
	first, last int  // the problems of the mapping are among these of the report
	unknown     bool // it has a key that nobody knows, which may be any of those that it lacks
}

// At is the place of a node, for values that decode themselves. Problems there that were reported before count as its own.
func (r *Report) At(n *yaml.Node, path string) At {
	return At{node: resolve(n), path: path, last: len(r.problems)}
}

// Good says whether the mapping was decoded without a problem at any of the keys, or without any problem when none is
// named.
func (r *Report) Good(at At, keys ...string) bool {
	if len(keys) == 0 {
		keys = []string{""}
	}
	for _, p := range r.problems[at.first:at.last] {
		for _, key := range keys {
			if p.Path == at.path || below(p.Path, join(at.path, key)) {
				return false
			}
		}
	}
	return true
}

// below says whether a path is another one or leads on from there.
func below(path, start string) bool {
	start = strings.TrimSuffix(start, ".")
	rest, ok := strings.CutPrefix(path, start)
	return ok && (start == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// has says whether the mapping has a key.
func (a At) has(key string) bool {
	for i := 0; i+1 < len(a.node.Content); i += 2 {
		if a.node.Content[i].Value == key {
			return true
		}
	}
	return false
}

// Problem reports text at a key of the mapping; at the mapping itself when it lacks the key or key is "". A key that has
// a problem already gets no other one, and neither does one that is missing while there is an unknown one.
func (r *Report) Problem(at At, key, text string) {
	if !r.Good(at, key) || at.unknown && !at.has(key) {
		return
	}
	line, path := at.node.Line, at.path
	if key != "" {
		path = join(at.path, key)
		for i := 0; i+1 < len(at.node.Content); i += 2 {
			if at.node.Content[i].Value == key {
				line = at.node.Content[i+1].Line
			}
		}
	}
	r.problem(line, path, text)
}

func (r *Report) problem(line int, path, text string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Path: path, Text: text})
}

// Decode reads one mapping into one or several structs at once: each key belongs to the first target that has it, and a
// key that none has is a problem. Targets are pointers to structs that hold their defaults; those that are Validators are
// asked when all keys have been read. Decode returns the place, to report what the caller itself finds wrong.
func (r *Report) Decode(n *yaml.Node, path string, targets ...any) At {
	n = resolve(n)
	at := At{node: n, path: path, first: len(r.problems)}
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, path, fmt.Sprintf("want keys with values here, not %s", describe(n)))
		at.last = len(r.problems)
		return at
	}
	known := map[string]catalog.Field{}
	var names []string
	for _, t := range targets {
		for _, f := range catalog.Fields(t) {
			if _, taken := known[f.Key]; !taken {
				known[f.Key] = f
				names = append(names, f.Key)
			}
		}
	}
	seen := r.decodeKeys(n, path, known, names)
	for _, name := range names {
		if known[name].Required && !seen[name] {
			r.problem(n.Line, join(path, name), "is required")
		}
	}
	at.last = len(r.problems)
	for key := range seen {
		_, ok := known[key]
		at.unknown = at.unknown || !ok
	}
	for _, t := range targets {
		if v, ok := t.(Validator); ok {
			v.Validate(r, at)
		}
	}
	return at
}

func (r *Report) decodeKeys(n *yaml.Node, path string, known map[string]catalog.Field, names []string) (seen map[string]bool) {
	seen = map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		field, ok := known[key.Value]
		switch {
		case !ok:
			r.problem(key.Line, join(path, key.Value), unknownKey(key.Value, names))
		case seen[key.Value]:
			r.problem(key.Line, join(path, key.Value), "is given twice: keep one")
		default:
			r.decodeField(field, value, join(path, key.Value))
		}
		seen[key.Value] = true
	}
	return seen
}

func unknownKey(key string, names []string) string {
	if near := catalog.Nearest(key, names); near != "" {
		return fmt.Sprintf("unknown key (did you mean %q?)", near)
	}
	return "unknown key: one of " + strings.Join(names, ", ")
}

func (r *Report) decodeField(f catalog.Field, n *yaml.Node, path string) {
	n = resolve(n)
	if f.IsScalar() {
		if text, ok := r.scalar(n, path); ok {
			if err := f.Set(text); err != nil {
				r.problem(n.Line, path, err.Error())
			}
		}
		return
	}
	r.decodeValue(f.Value(), n, path)
}

// decodeValue reads a node into any settable value: what has a decoder of its own, structs, slices, maps and pointers.
func (r *Report) decodeValue(v reflect.Value, n *yaml.Node, path string) {
	n = resolve(n)
	if r.budget--; r.budget < 0 {
		if r.budget == -1 {
			r.problem(n.Line, path, "the file has too many values (aliases count each time they are used)")
		}
		return
	}
	if d, ok := reflect.TypeAssert[NodeDecoder](v.Addr()); ok {
		d.DecodeNode(r, n, path)
		return
	}
	if _, isText := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); isText || v.Type() == reflect.TypeFor[time.Duration]() {
		r.decodeScalar(v, n, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		r.Decode(n, path, v.Addr().Interface())
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		r.decodeValue(v.Elem(), n, path)
	case reflect.Slice:
		r.decodeSlice(v, n, path)
	case reflect.Map:
		r.decodeMap(v, n, path)
	default:
		r.decodeScalar(v, n, path)
	}
}

func (r *Report) decodeScalar(v reflect.Value, n *yaml.Node, path string) {
	if text, ok := r.scalar(n, path); ok {
		if err := catalog.Parse(v, text); err != nil {
			r.problem(n.Line, path, err.Error())
		}
	}
}

func (r *Report) decodeSlice(v reflect.Value, n *yaml.Node, path string) {
	if n.Kind != yaml.SequenceNode {
		r.problem(n.Line, path, fmt.Sprintf("want a list here, not %s", describe(n)))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		r.decodeValue(v.Index(i), item, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (r *Report) decodeMap(v reflect.Value, n *yaml.Node, path string) {
	if n.Kind != yaml.MappingNode {
		r.problem(n.Line, path, fmt.Sprintf("want keys with values here, not %s", describe(n)))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		item := reflect.New(v.Type().Elem()).Elem()
		r.decodeValue(item, n.Content[i+1], join(path, key))
		if v.MapIndex(reflect.ValueOf(key)).IsValid() {
			r.problem(n.Content[i].Line, join(path, key), "is given twice: keep one")
		}
		v.SetMapIndex(reflect.ValueOf(key), item)
	}
}

// scalar returns a node's text with ${NAME} replaced. A null is not a value: leave the key out to get the default.
func (r *Report) scalar(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		r.problem(n.Line, path, fmt.Sprintf("want a value here, not %s", describe(n)))
		return "", false
	}
	text, missing := expand(n.Value, r.lookup)
	if missing != "" {
		r.problem(n.Line, path, fmt.Sprintf("environment variable %s is not set", missing))
		return "", false
	}
	return text, true
}

// expand replaces each ${NAME}; "$${" stands for "${" itself.
func expand(text string, lookup func(string) (string, bool)) (expanded, missing string) {
	var b strings.Builder
	for {
		start := strings.Index(text, "${")
		if start < 0 {
			return b.String() + text, ""
		}
		if start > 0 && text[start-1] == '$' {
			b.WriteString(text[:start-1] + "${")
			text = text[start+2:]
			continue
		}
		end := strings.IndexByte(text[start:], '}')
		if end < 0 {
			return b.String() + text, ""
		}
		name := text[start+2 : start+end]
		value, ok := lookup(name)
		if !ok {
			return "", name
		}
		b.WriteString(text[:start] + value)
		text = text[start+end+1:]
	}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Tag == "!!null":
		return "nothing"
	default:
		return fmt.Sprintf("the value %q", n.Value)
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
