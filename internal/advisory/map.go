package advisory

import (
	"bytes"
	_ "embed" // the curated map
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/chartkeep/chartkeep/internal/problem"
)

//go:embed components.yaml
var curated []byte

// Curated returns the map that comes with the program: components.yaml.
func Curated() *Map {
	m, err := ReadMap(curated, MapLimits{})
	if err != nil {
		panic(err) // TestCuratedMap reads it
	}
	return m
}

// MapLimits bound what ReadMap accepts. Zero fields take the value of
// DefaultMapLimits.
type MapLimits struct {
	Bytes   int // of the text, of which each can take 250 in memory
	Entries int // images and mirrors, each name counted
}

// DefaultMapLimits are those for maps that people write.
func DefaultMapLimits() MapLimits { return MapLimits{Bytes: 512 << 10, Entries: 20_000} }

// Map says which component an image is, and how its tags are read. It is made of
// layers; what an upper one says of an image goes before what a lower one says
// in the same way. A Map is immutable.
type Map struct {
	layers []*layer
}

// layer is one file, indexed by the ways in which an image is looked up.
type layer struct {
	mirrors map[string]string // host/path of a folder to what it has copies of
	exact   map[string]*entry // host/path
	folders map[string]*entry // host/path of NAME/*
	tails   map[string]*entry // path of two parts or more, whatever the host
	within  map[string]*entry // path of NAME/*, whatever the host
	names   map[string]*entry // last part of the path
}

// entry is one entry of a map. Its keys are described in docs/advisories.md.
type entry struct {
	Images       []string   `yaml:"images"`
	Names        []string   `yaml:"names"`
	Components   []string   `yaml:"components"`
	Incompatible int        `yaml:"incompatible"`
	Tag          scheme     `yaml:"tag"`
	Prefixes     []string   `yaml:"prefixes"`
	Confidence   Confidence `yaml:"confidence"`
	None         string     `yaml:"none"`
	Why          string     `yaml:"why"`

	components []Component
}

type mapFile struct {
	Mirrors []struct {
		Of  string   `yaml:"of"`
		Are []string `yaml:"are"`
	} `yaml:"mirrors"`
	Images []*entry `yaml:"images"`
}

// ReadMap reads a map from YAML. Unknown keys, an image that stands in two
// entries, and what cannot be meant are problems of kind Invalid with rule
// "component-map"; too much of it is TooLarge with rule "component-map-size".
func ReadMap(text []byte, lim MapLimits) (*Map, error) {
	d := DefaultMapLimits()
	if lim.Bytes == 0 {
		lim.Bytes = d.Bytes
	}
	if lim.Entries == 0 {
		lim.Entries = d.Entries
	}
	if len(text) > lim.Bytes {
		return nil, problem.New(problem.TooLarge, "component-map-size", "the component map is larger than %d KiB", lim.Bytes>>10).
			With("size", "%d bytes", len(text))
	}
	var f mapFile
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, invalidMap("it is not YAML of the form that is known").
			With("reader", "%s", strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", ";")).Because(err)
	}
	if err := decoder.Decode(&mapFile{}); !errors.Is(err, io.EOF) {
		return nil, invalidMap("it has more than one YAML document")
	}
	l := &layer{map[string]string{}, map[string]*entry{}, map[string]*entry{}, map[string]*entry{}, map[string]*entry{}, map[string]*entry{}}
	n := 0
	for _, m := range f.Mirrors {
		if n += len(m.Are); n > lim.Entries {
			break
		}
		if err := l.addMirror(m.Of, m.Are); err != nil {
			return nil, err
		}
	}
	for i, e := range f.Images {
		if e == nil {
			return nil, invalidMap("entry %d of images is empty", i+1)
		}
		if n += len(e.Images) + len(e.Names) + len(e.Components); n > lim.Entries {
			break
		}
		if err := l.add(i+1, e); err != nil {
			return nil, err
		}
	}
	if n > lim.Entries {
		return nil, problem.New(problem.TooLarge, "component-map-size", "the component map has more than %d names", lim.Entries)
	}
	return &Map{layers: []*layer{l}}, nil
}

func invalidMap(format string, args ...any) *problem.Error {
	return problem.New(problem.Invalid, "component-map", "the component map cannot be used: "+format, args...).
		Suggest("correct the map as docs/advisories.md describes it")
}

// Over returns the map in which m goes before below: own.Over(Curated()).
func (m *Map) Over(below *Map) *Map {
	return &Map{layers: slices.Concat(m.layers, below.layers)}
}

func (l *layer) addMirror(of string, are []string) error {
	if fault := folderFault(of); fault != "" {
		return invalidMap("mirrors: %q %s", of, fault)
	}
	for _, prefix := range are {
		if fault := folderFault(prefix); fault != "" {
			return invalidMap("mirrors of %s: %q %s", of, prefix, fault)
		}
		if was, ok := l.mirrors[prefix]; ok && was != of {
			return invalidMap("%s is a mirror of %s and of %s", prefix, was, of)
		}
		l.mirrors[prefix] = of
	}
	return nil
}

// folderFault checks a host, or a host with a path below it.
func folderFault(s string) string {
	host, path, ok := strings.Cut(s, "/")
	switch {
	case !isHost(host) || host != strings.ToLower(host) || !strings.ContainsAny(host, ".:") && host != "localhost":
		return "does not begin with the host of a registry in lower case, such as docker.io"
	case ok && pathFault(path) != "":
		return "is no repository: " + pathFault(path)
	}
	return ""
}

// add checks an entry and puts it into the index.
func (l *layer) add(n int, e *entry) error {
	if err := e.check(); err != nil {
		return invalidMap("entry %d of images, %s: %s", n, strings.Join(append(slices.Clone(e.Images), e.Names...), " "), err)
	}
	put := func(index map[string]*entry, key string) error {
		if was := index[key]; was != nil && was != e {
			return invalidMap("%s stands in two entries", key)
		}
		index[key] = e
		return nil
	}
	for _, image := range e.Images {
		repository, wild := strings.CutSuffix(image, "/*")
		_, path, _ := strings.Cut(repository, "/")
		whole, tail := l.exact, l.tails
		if wild {
			whole, tail = l.folders, l.within
		}
		if err := put(whole, repository); err != nil {
			return err
		}
		// Of names that another host has as well the first entry has the tail.
		if (wild || strings.Contains(path, "/")) && path != "" && tail[path] == nil {
			tail[path] = e
		}
	}
	for _, name := range e.Names {
		if err := put(l.names, name); err != nil {
			return err
		}
	}
	return nil
}

// check fills what is left out and says what is wrong.
func (e *entry) check() error {
	if len(e.Images)+len(e.Names) == 0 {
		return errors.New("it has neither images nor names")
	}
	for _, image := range e.Images {
		repository := strings.TrimSuffix(image, "/*")
		if fault := folderFault(repository); fault != "" {
			return fmt.Errorf("%q %s", image, fault)
		}
		if !strings.Contains(repository, "/") && repository == image {
			return fmt.Errorf("%q has no name after the host", image)
		}
	}
	for _, name := range e.Names {
		if strings.Contains(name, "/") || pathFault(name) != "" {
			return fmt.Errorf("%q is not the last part of an image's name", name)
		}
	}
	if e.None != "" {
		if len(e.Components)+len(e.Prefixes)+e.Incompatible > 0 || e.Tag != "" || e.Confidence != "" || e.Why != "" {
			return errors.New("it says none, and what the image is")
		}
		return nil
	}
	if len(e.Components) == 0 {
		return errors.New("it has neither components nor none")
	}
	if e.Incompatible < 0 {
		return errors.New("incompatible is a major version")
	}
	for _, text := range e.Components {
		ecosystem, name, ok := strings.Cut(text, "/")
		if !ok || ecosystem == "" || name == "" || strings.Trim(text, " ") != text {
			return fmt.Errorf("%q is no component: ecosystem/name is meant, such as Bitnami/redis", text)
		}
		if rest, all := strings.CutSuffix(text, "/*"); strings.Contains(text, "*") && (!all || strings.Contains(rest, "*") || !e.wild()) {
			return fmt.Errorf("%q: /* at its end stands for the last part of images that end in /*", text)
		}
		if _, major := splitMajor(name); ecosystem == "Go" && major != "" {
			return fmt.Errorf("%q: leave %s out, the version of the tag says it", text, major)
		}
		e.components = append(e.components, Component{ecosystem, name})
	}
	if e.Tag == "" {
		e.Tag = schemeSemVer
	}
	if !slices.Contains(schemes, e.Tag) {
		return fmt.Errorf("the tag is read as %q, which is none of %v", e.Tag, schemes)
	}
	switch e.Confidence {
	case "":
		e.Confidence = Likely
	case Certain, Likely, Weak:
	default:
		return fmt.Errorf("the confidence %q is none of certain, likely, weak", e.Confidence)
	}
	return nil
}

// wild reports whether all names of the entry end in /*.
func (e *entry) wild() bool {
	for _, image := range e.Images {
		if !strings.HasSuffix(image, "/*") {
			return false
		}
	}
	return len(e.Names) == 0
}

// found is an entry that speaks of an image.
type found struct {
	entry      *entry
	confidence Confidence
	name       string // last part of the path, what * stands for
	image      string // as a sentence begins that is about it
	guessed    string // by which part of its name it was found; "" for the whole
}

// sentence says what the map takes the image for.
func (f found) sentence(component string) string {
	switch {
	case f.entry.None != "" && f.guessed != "":
		return fmt.Sprintf("%s is taken for an image that cannot be matched, by %s", f.image, f.guessed)
	case f.entry.None != "":
		return f.image + " stands on the component map as an image that cannot be matched"
	case f.guessed != "":
		return fmt.Sprintf("%s is taken for %s by %s", f.image, component, f.guessed)
	case f.entry.Why != "":
		return fmt.Sprintf("%s is %s on the component map: %s", f.image, component, f.entry.Why)
	}
	return fmt.Sprintf("%s is %s on the component map", f.image, component)
}

// find looks an image up: by its whole name, then by the folder that it is in,
// both after mirrors were replaced by what they mirror; then by the end of its
// name, two parts or more, which is a step less sure; then by its last part
// alone, which is weak. Each way is tried in all layers before the next one.
func (m *Map) find(i Image) (found, bool) {
	repository := i.Repository()
	origin := m.origin(repository)
	f := found{name: origin[strings.LastIndexByte(origin, '/')+1:], image: origin}
	if origin != repository {
		f.image = repository + ", which the map has as a mirror of " + origin + ","
	}
	folder := strings.TrimSuffix(origin, "/"+f.name)
	if f.entry = m.lookup(func(l *layer) *entry { return either(l.exact[origin], l.folders[folder]) }); f.entry != nil {
		f.confidence = f.entry.Confidence
		return f, true
	}
	for _, path, ok := strings.Cut(origin, "/"); ok && strings.Contains(path, "/"); _, path, ok = strings.Cut(path, "/") {
		folder := strings.TrimSuffix(path, "/"+f.name)
		if f.entry = m.lookup(func(l *layer) *entry { return either(l.tails[path], l.within[folder]) }); f.entry != nil {
			f.confidence = Weak
			if f.entry.Confidence == Certain {
				f.confidence = Likely
			}
			f.image, f.guessed = repository, "the end of its name, "+path
			return f, true
		}
	}
	if f.entry = m.lookup(func(l *layer) *entry { return l.names[f.name] }); f.entry != nil {
		f.confidence = Weak
		f.image, f.guessed = repository, "the last part of its name alone"
		return f, true
	}
	return found{}, false
}

func (m *Map) lookup(in func(*layer) *entry) *entry {
	for _, l := range m.layers {
		if e := in(l); e != nil {
			return e
		}
	}
	return nil
}

func either(a, b *entry) *entry {
	if a != nil {
		return a
	}
	return b
}

// maxMirrors is how many mirrors of mirrors are followed.
const maxMirrors = 4

// origin replaces the longest folder that is a mirror by what it mirrors.
func (m *Map) origin(repository string) string {
	for range maxMirrors {
		next := repository
		for folder := repository; next == repository; {
			slash := strings.LastIndexByte(folder, '/')
			if slash < 0 {
				return repository
			}
			folder = folder[:slash]
			for _, l := range m.layers {
				if of, ok := l.mirrors[folder]; ok {
					next = of + repository[len(folder):]
					break
				}
			}
		}
		repository = next
	}
	return repository
}

// resolve returns the components of the entry for a version. A Go module has
// its major version in its name from 2 on.
func (f found) resolve(v version) []Component {
	list := slices.Clone(f.entry.components)
	for i := range list {
		if rest, all := strings.CutSuffix(list[i].Name, "*"); all {
			list[i].Name = rest + f.name
		}
		if list[i].Ecosystem != "Go" {
			continue
		}
		major, _, _ := strings.Cut(v.core, ".")
		if compareNumbers(major, "1") > 0 && compareNumbers(major, fmt.Sprint(f.entry.Incompatible)) > 0 {
			list[i].Name += "/v" + major
		}
	}
	return list
}

// splitMajor splits /v2 and the like from the path of a Go module.
func splitMajor(module string) (path, major string) {
	i := strings.LastIndex(module, "/v")
	if i < 0 || i+2 == len(module) || strings.Trim(module[i+2:], "0123456789") != "" {
		return module, ""
	}
	return module[:i], module[i:]
}
