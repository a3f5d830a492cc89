package deployment

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits of a tree.
const (
	maxEntries   = 200_000   // files and folders
	maxTreeDepth = 32        // folders
	maxFile      = 8 << 20   // bytes of one file that is read
	maxTree      = 256 << 20 // bytes of all of them
	maxFound     = 20_000    // deployments
)

// Options say what is known beside the files.
type Options struct {
	// Name begins the key of everything that is found, so that two trees do
	// not name two deployments alike: the repository, or "" for none.
	Name string
	// Clusters are those that Argo CD knows, for generators that ask for
	// them. Without them such generators are unresolved.
	Clusters []Cluster
	// Variables are the environment variables that helmfiles may ask for.
	// Others are unresolved.
	Variables map[string]string
}

// Cluster is a cluster as Argo CD knows it, by its Secret.
type Cluster struct {
	Name        string
	Server      string
	Labels      map[string]string
	Annotations map[string]string
}

// reader is one reading of a tree.
type reader struct {
	opt     Options
	from    string
	cluster string             // whose objects are read, "" for files
	files   map[string][]byte  // YAML, JSON, CSV and templates, by path
	folders []string           // all, sorted
	charts  map[string]bool    // folders with a Chart.yaml
	left    map[string]string  // files that were not read, and why
	objects []kubeDocument     // of Kubernetes
	storage *HelmStorage       // what of Helm's is among them
	local   map[string]*Chart  // what was read of the charts of the tree, by folder
	depend  map[string][]Chart // their dependencies
	used    map[string]bool    // helmfiles that another one includes
	size    int                // bytes of files
	parsed  int                // bytes of YAML
	index   map[string]int     // deployments by key
	out     Inventory
}

// kubeDocument is an object of Kubernetes that a file holds.
type kubeDocument struct {
	object
	api, kind, namespace, name string
}

// Read reads a folder of files and returns the deployments that they describe:
// Applications, ApplicationSets, HelmReleases, helmfiles, umbrella charts,
// plain lists (files named deployments.yaml, .yml, .json or .csv) and dumps of
// Helm's storage. Symbolic links are not followed. The error is a problem of
// kind Invalid or TooLarge when nothing could be read at all; what could not be
// read of it is in the inventory's problems, and from names the folder there.
// Cost: linear in the files; all of them that can describe something are in
// memory, at most 256 MiB.
func Read(tree fs.FS, from string, opt Options) (Inventory, error) {
	r := newReader(from, opt)
	if err := r.walk(tree); err != nil {
		return Inventory{}, err
	}
	r.readAll()
	return r.done(), nil
}

// ReadFile reads one file of any of the forms that Read knows; the form of a
// plain list is tried where no other fits. Errors are problems of kind Invalid
// or TooLarge.
func ReadFile(name string, text []byte, opt Options) (Inventory, error) {
	if len(text) > maxFile {
		if bytes.Contains(text[:4096], []byte("{")) {
			v, err := ReadHelm(text, opt.Name, name)
			if err != nil || len(v.Deployments)+len(v.Problems) > 0 {
				return v, err
			}
		}
		return Inventory{}, problem.New(problem.TooLarge, "deployment-file-size", "%s is larger than %d MiB, and no list of what Helm stored", name, maxFile>>20).
			Suggest("split it, and give each part with a --from of its own")
	}
	r := newReader(name, opt)
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	r.files[base] = text
	r.readAll()
	if v := r.done(); len(v.Deployments) > 0 || len(v.Problems) > 0 {
		return v, nil
	}
	if v, err := ReadHelm(text, opt.Name, name); err == nil && len(v.Deployments) > 0 {
		return v, nil
	}
	r = newReader(name, opt)
	if err := r.plain(base, text); err != nil {
		return Inventory{}, problem.New(problem.Invalid, "deployment-file", "%s describes no deployments: %v", name, err).
			Suggest("see docs/deployments.md for the forms that are read")
	}
	return r.done(), nil
}

// ReadObjects reads objects of Kubernetes as a cluster returns them, JSON each:
// Secrets and ConfigMaps of Helm's storage, and Applications, ApplicationSets,
// HelmReleases and what they refer to. cluster names the cluster.
func ReadObjects(objects [][]byte, cluster, from string, opt Options) Inventory {
	r := newReader(from, opt)
	r.storage, r.cluster = NewHelmStorage(cluster, from), cluster
	for i, text := range objects {
		var o kubeObject
		err := json.Unmarshal(text, &o)
		if err == nil && (o.Kind == "Secret" || o.Kind == "ConfigMap") && o.stored() {
			r.storage.addObject(o)
			continue
		}
		place := fmt.Sprintf("%s: %s %s/%s", from, o.Kind, o.Metadata.Namespace, o.Metadata.Name)
		if err != nil {
			place = fmt.Sprintf("%s: object %d", from, i+1)
		}
		docs, err := r.parse(place, text)
		if err != nil {
			r.problem(place, "%v", err)
			continue
		}
		for _, doc := range docs {
			withoutLines(doc.n)
			r.kubernetes(doc)
		}
	}
	r.resolve()
	for i := range r.out.Deployments {
		d := &r.out.Deployments[i]
		if d.Tool != Helm && d.Cluster == "" {
			d.Cluster = cluster
		}
	}
	return r.done()
}

func newReader(from string, opt Options) *reader {
	return &reader{
		opt: opt, from: from, files: map[string][]byte{}, charts: map[string]bool{}, left: map[string]string{},
		local: map[string]*Chart{}, depend: map[string][]Chart{}, used: map[string]bool{}, index: map[string]int{},
		storage: NewHelmStorage(opt.Name, from), out: Inventory{From: from, Deployments: []Deployment{}},
	}
}

// walk reads the files of a tree that can describe something.
func (r *reader) walk(tree fs.FS) error {
	entries := 0
	err := fs.WalkDir(tree, ".", func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			if p == "." {
				return err
			}
			r.left[p] = "it cannot be opened"
			return nil
		}
		if entries++; entries > maxEntries {
			return problem.New(problem.TooLarge, "deployment-tree", "%s has more than %d files and folders", r.from, maxEntries).
				Suggest("name the folder with the deployments")
		}
		switch {
		case e.IsDir():
			if e.Name() == ".git" || e.Name() == "node_modules" || strings.Count(p, "/") >= maxTreeDepth {
				return fs.SkipDir
			}
			if p != "." {
				r.folders = append(r.folders, p)
			}
			return nil
		case !readable(p):
			return nil
		case !e.Type().IsRegular():
			r.left[p] = "it is no regular file, and links are not followed"
			return nil
		}
		return r.open(tree, p)
	})
	if _, ok := problem.As(err); ok {
		return err
	}
	if err != nil {
		return problem.New(problem.Invalid, "deployment-tree", "%s cannot be read", r.from).Because(err).
			Suggest("check the path and its permissions")
	}
	slices.Sort(r.folders)
	return nil
}

// readable reports whether a file can describe something, by its name.
func readable(p string) bool {
	switch path.Ext(p) {
	case ".yaml", ".yml", ".json", ".gotmpl":
		return true
	case ".lock":
		base := path.Base(p)
		return base == "Chart.lock" || base == "requirements.lock" || strings.Contains(base, "helmfile")
	case ".csv":
		return strings.HasSuffix(path.Base(p), "deployments.csv")
	}
	return false
}

func (r *reader) open(tree fs.FS, p string) error {
	f, err := tree.Open(p)
	if err != nil {
		r.left[p] = "it cannot be opened"
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		r.left[p] = "it cannot be read"
	case len(text) > maxFile:
		r.left[p] = fmt.Sprintf("it is larger than %d MiB", maxFile>>20)
	default:
		if r.size += len(text); r.size > maxTree {
			return problem.New(problem.TooLarge, "deployment-tree", "%s has more than %d MiB of files that can describe deployments", r.from, maxTree>>20).
				Suggest("name the folder with the deployments")
		}
		r.files[p] = text
	}
	return nil
}

// readAll reads the files in the order of their paths.
func (r *reader) readAll() {
	paths := make([]string, 0, len(r.files))
	for p := range r.files {
		paths = append(paths, p)
		if path.Base(p) == "Chart.yaml" {
			r.charts[path.Dir(p)] = true
		}
	}
	slices.Sort(paths)
	var helmfiles []string
	for _, p := range paths {
		switch base := path.Base(p); {
		case r.vendored(p), path.Ext(p) == ".lock":
		case base == "Chart.yaml":
			r.umbrella(p)
		case isHelmfile(p):
			helmfiles = append(helmfiles, p)
		case plainName(base):
			if err := r.plain(p, r.files[p]); err != nil {
				r.problem(p, "%v", err)
			}
		case path.Ext(p) == ".gotmpl":
		default:
			r.file(p)
		}
	}
	r.helmfiles(helmfiles)
	r.resolve()
	for _, p := range slices.Sorted(maps.Keys(r.left)) {
		if path.Base(p) == "Chart.yaml" || isHelmfile(p) || plainName(path.Base(p)) || path.Ext(p) == ".yaml" || path.Ext(p) == ".yml" {
			if !r.inTemplates(p) && !r.vendored(p) {
				r.problem(p, "%s", r.left[p])
			}
		}
	}
}

func plainName(base string) bool {
	switch base {
	case "deployments.yaml", "deployments.yml", "deployments.json":
		return true
	}
	return strings.HasSuffix(base, "deployments.csv")
}

// vendored reports whether a file belongs to a dependency in the charts/ of a
// chart: it says nothing that the chart above does not.
func (r *reader) vendored(p string) bool { return r.below(p, "charts") }

// inTemplates reports whether a file is a template of a chart.
func (r *reader) inTemplates(p string) bool { return r.below(p, "templates") }

func (r *reader) below(p, folder string) bool {
	for dir := path.Dir(p); dir != "." && dir != "/"; dir = path.Dir(dir) {
		if path.Base(dir) == folder && r.charts[path.Dir(dir)] {
			return true
		}
	}
	return false
}

// file reads what may be objects of Kubernetes.
func (r *reader) file(p string) {
	text := r.files[p]
	if !describes(text) {
		return
	}
	docs, err := r.parse(p, text)
	if err != nil {
		if !r.inTemplates(p) {
			r.problem(p, "%v", err)
		}
		return
	}
	for _, doc := range docs {
		r.kubernetes(doc)
	}
}

// describes reports whether a text names anything that is read, which is
// cheaper than reading it. Secrets and ConfigMaps are read as the values of
// HelmReleases.
func describes(text []byte) bool {
	for _, word := range []string{"argoproj.io", "toolkit.fluxcd.io", "Secret", "ConfigMap", "helm.sh/release"} {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// kubernetes takes one object, or the items of a list.
func (r *reader) kubernetes(o object) {
	kind := o.at("kind").text()
	if items := o.at("items"); strings.HasSuffix(kind, "List") && items.n != nil {
		for _, item := range items.list() {
			if item.at("kind").text() == "" && (kind == "SecretList" || kind == "ConfigMapList") {
				r.stored(item, strings.TrimSuffix(kind, "List"))
				continue
			}
			r.kubernetes(item)
		}
		return
	}
	if kind == "" || !o.at("apiVersion").is() {
		return
	}
	if kind == "Secret" || kind == "ConfigMap" {
		if r.stored(o, kind) {
			return
		}
	}
	m := o.at("metadata")
	r.objects = append(r.objects, kubeDocument{o, o.at("apiVersion").text(), kind, m.at("namespace").text(), m.at("name").text()})
}

// stored takes an object of Helm's storage, and reports whether it is one.
func (r *reader) stored(o object, kind string) bool {
	if o.at("type").text() != "helm.sh/release.v1" && (o.at("metadata", "labels", "owner").text() != "helm" || o.at("data", "release").text() == "") {
		return false
	}
	k := kubeObject{Kind: kind, Type: "helm.sh/release.v1"}
	k.Metadata.Name, k.Metadata.Namespace = o.at("metadata", "name").text(), o.at("metadata", "namespace").text()
	k.Metadata.Labels = o.at("metadata", "labels").texts()
	k.Data.Release = strings.Join(strings.Fields(o.at("data", "release").text()), "")
	k.StringData.Release = o.at("stringData", "release").text()
	r.storage.addObject(k)
	return true
}

// resolve turns the objects into deployments, once all of them are known.
func (r *reader) resolve() {
	stored := r.storage.Inventory()
	for _, d := range stored.Deployments {
		r.add(d)
	}
	r.out.Problems = append(r.out.Problems, stored.Problems...)
	for i := range r.objects {
		o := &r.objects[i]
		switch {
		case o.kind == "Application" && strings.HasPrefix(o.api, "argoproj.io/"):
			r.application(o)
		case o.kind == "ApplicationSet" && strings.HasPrefix(o.api, "argoproj.io/"):
			r.applicationSet(o)
		case o.kind == "HelmRelease" && strings.HasPrefix(o.api, "helm.toolkit.fluxcd.io/"):
			r.helmRelease(o)
		}
	}
}

// find returns the object of a kind, whatever its version, or nil.
func (r *reader) find(group, kind, namespace, name string) *kubeDocument {
	for i := range r.objects {
		o := &r.objects[i]
		if o.kind == kind && o.name == name && o.namespace == namespace && (group == "" || strings.HasPrefix(o.api, group+"/")) {
			return o
		}
	}
	return nil
}

// problem notes what should have been read.
func (r *reader) problem(where, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if where != "" {
		text = where + ": " + text
	}
	switch {
	case len(r.out.Problems) < maxProblems:
		r.out.Problems = append(r.out.Problems, text)
	case len(r.out.Problems) == maxProblems:
		r.out.Problems = append(r.out.Problems, "there are more problems, which are not listed")
	}
}

// key names a deployment by its own part, and the file or the cluster.
func (r *reader) key(p, own string) string {
	if r.cluster != "" {
		p = r.cluster
	}
	key := p + "#" + own
	if r.opt.Name != "" {
		key = r.opt.Name + ":" + key
	}
	return key
}

// add takes a deployment. Two of one key are told apart by a number.
func (r *reader) add(d Deployment) {
	if len(r.out.Deployments) >= maxFound {
		if len(r.out.Deployments) == maxFound {
			r.problem("", "there are more than %d deployments; the others are not listed", maxFound)
		}
		return
	}
	d.bound()
	if d.Exposure == "" {
		d.Exposure = ExposureUnknown
	}
	if d.Match.Confidence == "" {
		d.Match = unmatched("not compared with any published chart yet")
	}
	own := d.Key
	for n := 2; ; n++ {
		if _, taken := r.index[d.Key]; !taken {
			break
		}
		d.Key = fmt.Sprintf("%s#%d", own, n)
	}
	r.index[d.Key] = len(r.out.Deployments)
	r.out.Deployments = append(r.out.Deployments, d)
}

// bound cuts what files say where it is longer than it can be, and says so.
func (d *Deployment) bound() {
	for _, f := range []struct {
		name  string
		text  *string
		limit int
	}{
		{"key", &d.Key, 1000}, {"place", &d.From, 4000}, {"cluster", &d.Cluster, 256}, {"namespace", &d.Namespace, 256}, {"name", &d.Name, 256},
		{"environment", &d.Environment, 200}, {"owner", &d.Owner, 200}, {"route", &d.Route, 200}, {"status", &d.Status, 100},
		{"chart", &d.Chart.Name, 256}, {"alias", &d.Chart.Alias, 256}, {"version", &d.Chart.Version, 256}, {"app version", &d.Chart.AppVersion, 256},
		{"repository", &d.Chart.Repository, 2000}, {"condition", &d.Chart.Condition, 1000},
	} {
		if len(*f.text) > f.limit {
			*f.text = strings.ToValidUTF8((*f.text)[:f.limit], "")
			d.Unresolved = append(d.Unresolved, fmt.Sprintf("the %s is longer than %d bytes, and cut", f.name, f.limit))
		}
	}
	if len(d.Unresolved) > 100 {
		d.Unresolved = append(d.Unresolved[:100:100], fmt.Sprintf("and %d more", len(d.Unresolved)-100))
	}
}

// done is what was found. A deployment without a chart and without a reason
// would be one that is left out.
func (r *reader) done() Inventory {
	for i := range r.out.Deployments {
		if d := &r.out.Deployments[i]; d.Chart.Name == "" && len(d.Unresolved) == 0 {
			d.Unresolved = []string{"it does not say which chart it is"}
		}
	}
	slices.SortFunc(r.out.Deployments, func(a, b Deployment) int { return strings.Compare(a.Key, b.Key) })
	slices.Sort(r.out.Problems)
	r.out.Problems = slices.Compact(r.out.Problems)
	return r.out
}

// within joins a path of a file to the folder of another. It is an error to
// leave the tree.
func within(dir, p string) (string, error) {
	if p == "" {
		return "", errors.New("is empty")
	}
	joined := path.Join("/", dir, p)
	if strings.HasPrefix(p, "/") {
		return "", errors.New("is an absolute path")
	}
	if strings.HasPrefix(path.Join(cmp.Or(dir, "."), p), "..") {
		return "", errors.New("leaves the folder that is read")
	}
	if joined == "/" {
		return ".", nil
	}
	return joined[1:], nil
}
