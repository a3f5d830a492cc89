package chart

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/problem"
)

// Limits bound what Open reads. Sizes are in bytes. A limit of 0 allows
// nothing; start from DefaultLimits.
type Limits struct {
	Archive   int64 // the compressed archive
	Unpacked  int64 // the whole tar stream, headers included
	File      int64 // one file
	ChartYAML int64 // Chart.yaml and requirements.yaml, at most MaxChartYAML
	Text      int64 // README.md and values.yaml, to be kept in the Archive; a larger one is left out
	Files     int   // entries, folders included
	Depth     int   // folders below the chart's folder
	Ratio     int64 // unpacked to compressed, beyond the first 4 MiB unpacked
}

// DefaultLimits returns limits under which every chart that Helm can load is
// accepted, short of absurd ones: Helm 3.18 and 4 refuse files over 5 MiB and
// charts over 100 MiB. The largest of 299 real charts has 0.5 MiB packed, 4.5 MiB
// unpacked, 259 files, 6 levels and a ratio of 12.
func DefaultLimits() Limits {
	return Limits{
		Archive:   20 << 20,
		Unpacked:  100 << 20,
		File:      5 << 20,
		ChartYAML: MaxChartYAML,
		Text:      1 << 20,
		Files:     10_000,
		Depth:     32,
		Ratio:     100,
	}
}

// ratioFloor is how much may be unpacked before the ratio counts: repetitive
// files of an honest chart may compress well.
const ratioFloor = 4 << 20

// maxPathLength is the most bytes of a path in an archive.
const maxPathLength = 1024

// File is a regular file of an archive.
type File struct {
	Path   string // clean, relative to the chart's folder, slashes
	Size   int64  // bytes
	SHA256 [sha256.Size]byte
	Exec   bool // its owner may execute it
}

// Archive is what Open found in a chart archive. It shares no memory with the
// reader.
type Archive struct {
	Metadata  Metadata
	ChartYAML []byte // as it stands in the archive
	Folder    string // the one top-level folder; "." for an archive that has none
	Files     []File // sorted by path
	Digest    string // sha256:… of the compressed bytes
	Content   string // sha256:… of the files, see ContentDigest
	Size      int64  // compressed, in bytes
	Readme    []byte // README.md, or nil if there is none or it is over Limits.Text
	Values    []byte // values.yaml, likewise
	Warnings  []string

	faults []*problem.Error // of the archive, that only a new release may not have
}

// Open reads a chart archive to its very end, in one pass. It holds one file
// in memory at most, and none but the four that it keeps: the cost is linear
// in what the limits allow to be unpacked.
//
// It refuses with a problem of kind Invalid, or TooLarge where a limit is
// exceeded, what is no gzip-compressed tar of one chart, and what different
// readers could unpack differently: bytes behind the gzip member or the tar's
// end, links, devices and sparse files, paths that are absolute, unclean or
// have characters that cannot be printed, a file given twice with different
// content, a header that says one thing twice. Rules begin with "archive-",
// "chart-yaml", "requirements-yaml", or are those of ParseMetadata.
//
// An error of r is returned wrapped and is no problem.
func Open(r io.Reader, lim Limits) (Archive, error) { return OpenEach(r, lim, nil) }

// OpenEach is Open, and hands the content of every file to each in the order
// of the archive, before the archive as a whole is judged: what was handed out
// counts only if the error is nil. each may keep the bytes and must not change
// them. With it the cost in memory is that of what is kept.
func OpenEach(r io.Reader, lim Limits, each func(path string, content []byte)) (Archive, error) {
	u := newUnpacker(r, lim)
	defer u.release()
	x := reader{lim: lim, unpacker: u, each: each, paths: map[string]int{}, lower: map[string]string{}}
	err := u.start()
	if err == nil {
		err = x.readAll()
	}
	if err == nil {
		err = u.finish()
	}
	if err != nil {
		return Archive{}, u.explain(err)
	}
	if err := x.conclude(); err != nil {
		return Archive{}, err
	}
	x.a.Digest, x.a.Size = digestString(u.source.hash.Sum(nil)), u.source.size
	return x.a, nil
}

// Check holds the archive of a new release to the strict rules. It returns
// the first of Faults, or nil.
func (a Archive) Check() error { return first(a.Faults()) }

// Faults returns everything in which the archive breaks the strict rules, the
// gravest first: those of its metadata, then "archive-folder-name",
// "archive-duplicate", "archive-path-backslash", "archive-path-case" and "requirements-yaml". All are of
// kind Invalid.
func (a Archive) Faults() []*problem.Error {
	return append(a.Metadata.Faults(), a.faults...)
}

// reader is one pass over the entries of an archive.
type reader struct {
	lim      Limits
	unpacker *unpacker
	each     func(path string, content []byte)
	a        Archive
	paths    map[string]int    // every path and folder on the way to it: its index in Files, or isFolder
	lower    map[string]string // one path for each lower-case spelling
	entries  int
	requires []byte // requirements.yaml
	oddYAML  string // a path that is Chart.yaml in another spelling

	duplicates int       // files that are there again with the same content
	duplicate  string    // the first of them
	twins      [2]string // two paths that differ only in case
	backslash  string    // a path with backslashes
}

const isFolder = -1

func (x *reader) readAll() error {
	t := tar.NewReader(x.unpacker)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return x.unpacker.tarEnd()
		}
		if err != nil {
			return err
		}
		if x.entries++; x.entries > x.lim.Files {
			return problem.New(problem.TooLarge, "archive-file-count",
				"the chart archive has more than %d entries", x.lim.Files)
		}
		if err := x.entry(h, t); err != nil {
			return err
		}
	}
}

// entry judges one header and reads its file.
func (x *reader) entry(h *tar.Header, r io.Reader) error {
	if err := checkHeader(h); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	folder := h.Typeflag == tar.TypeDir
	name := h.Name
	if strings.Contains(name, `\`) && !strings.Contains(name, "/") {
		// Packed on Windows. Helm takes the backslashes for slashes.
		x.backslash = name
		name = strings.ReplaceAll(name, `\`, "/")
	}
	if folder {
		name = strings.TrimSuffix(name, "/")
	}
	path, err := x.place(name, folder)
	if err != nil || path == "" {
		return err
	}
	if folder {
		return x.remember(path, isFolder)
	}
	return x.file(h, path, r)
}

// checkHeader refuses what is neither a plain file nor a folder, and headers
// that readers of tar disagree about.
func checkHeader(h *tar.Header) error {
	odd := func(why string) error {
		return problem.New(problem.Invalid, "archive-entry-type", "the chart archive has %q, which %s", cut(h.Name), why).
			Suggest("build the archive with `helm package`")
	}
	for key := range h.PAXRecords {
		// A global header holds a comment in the archives of git. Readers
		// differ in whether any other record of it applies to the files.
		if strings.HasPrefix(key, "GNU.") || key == "hdrcharset" || key == "SCHILY.realsize" ||
			h.Typeflag == tar.TypeXGlobalHeader && key != "comment" {
			return odd(fmt.Sprintf("carries the extended header %q, which unpackers understand differently", cut(key)))
		}
	}
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		return odd("is a symbolic link")
	case tar.TypeLink:
		return odd("is a hard link")
	case tar.TypeChar, tar.TypeBlock:
		return odd("is a device")
	case tar.TypeFifo:
		return odd("is a named pipe")
	case tar.TypeGNUSparse:
		return odd("is a sparse file")
	default:
		return odd("is neither a file nor a folder")
	}
	folder, mode := h.Typeflag == tar.TypeDir, h.FileInfo().Mode()
	switch {
	case folder != mode.IsDir(), !folder && !mode.IsRegular():
		return odd("is of one type by its entry and of another by its mode")
	case folder && h.Size != 0:
		return odd("is a folder with content")
	case h.Linkname != "":
		return odd("is no link and has the target of one")
	case !folder && strings.HasSuffix(h.Name, "/"):
		return odd("is a file with the name of a folder")
	}
	return nil
}

// place returns the path of an entry below the chart's folder, or "" for the
// folder itself.
func (x *reader) place(name string, folder bool) (string, error) {
	if fault := pathFault(name); fault != "" {
		return "", problem.New(problem.Invalid, "archive-path", "the chart archive has the path %q, which %s", cut(name), fault).
			Suggest("build the archive with `helm package`")
	}
	base, path, below := strings.Cut(name, "/")
	if !below && !folder {
		if name == "Chart.yaml" {
			return "", problem.New(problem.Invalid, "archive-folder",
				"the chart archive has Chart.yaml at its top, and it belongs in a folder named after the chart").
				Suggest("build the archive with `helm package`")
		}
		return "", problem.New(problem.Invalid, "archive-folder", "the chart archive has the file %q outside the chart's folder", cut(name)).
			Suggest("build the archive with `helm package`")
	}
	switch {
	case x.a.Folder == "":
		x.a.Folder = base
	case x.a.Folder != base:
		return "", problem.New(problem.Invalid, "archive-folder", "the chart archive has two top-level folders").
			With("folder", "%q", cut(x.a.Folder)).With("folder", "%q", cut(base)).
			Suggest("build the archive with `helm package`")
	}
	if depth := strings.Count(path, "/"); depth > x.lim.Depth {
		return "", problem.New(problem.TooLarge, "archive-depth",
			"the chart archive has folders nested %d deep, and at most %d are allowed", depth, x.lim.Depth).
			With("path", "%q", cut(name))
	}
	return path, nil
}

// pathFault says why a path may not stand in an archive, as the rest of a
// sentence about it, or "". Only the first segment may be a dot.
func pathFault(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxPathLength:
		return fmt.Sprintf("is longer than %d bytes", maxPathLength)
	case !utf8.ValidString(name):
		return "is not valid UTF-8"
	case name[0] == '/':
		return "is absolute"
	case strings.Contains(name, `\`):
		return "mixes slashes and backslashes"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has characters that cannot be printed"
	}
	first := true
	for segment := range strings.SplitSeq(name, "/") {
		switch {
		case segment == "..":
			return "leaves its folder"
		case segment == "" || segment == "." && !first:
			return "is not in its shortest form"
		case len(segment) == 2 && segment[1] == ':':
			return "begins with a drive"
		}
		first = false
	}
	return ""
}

// file reads one regular file.
func (x *reader) file(h *tar.Header, path string, r io.Reader) error {
	if h.Size > x.lim.File {
		return problem.New(problem.TooLarge, "archive-file-size",
			"the file %q of the chart archive is larger than %s", cut(path), sizeText(x.lim.File)).
			With("size", "%d bytes", h.Size).
			Suggest("list the file in .helmignore, or ship its content outside the chart: Helm itself loads no file over 5 MiB")
	}
	keep, err := x.wanted(path, h.Size)
	if err != nil {
		return err
	}
	if keep == nil && x.each != nil {
		keep = new([]byte)
	}
	f := File{Path: path, Size: h.Size, Exec: h.Mode&0o100 != 0}
	if err := x.unpacker.copyFile(&f, keep, r); err != nil {
		return err
	}
	if x.each != nil {
		x.each(path, *keep)
	}
	if was, known := x.paths[path]; known && was != isFolder {
		return x.again(x.a.Files[was], f)
	}
	if err := x.remember(path, len(x.a.Files)); err != nil {
		return err
	}
	x.a.Files = append(x.a.Files, f)
	return nil
}

// wanted returns where to keep the content of a file of the given size, or
// nil.
func (x *reader) wanted(path string, size int64) (*[]byte, error) {
	switch {
	case path == "Chart.yaml" || path == "requirements.yaml":
		if limit := min(x.lim.ChartYAML, MaxChartYAML); size > limit {
			rule := "chart-yaml-size"
			if path != "Chart.yaml" {
				rule = "requirements-yaml-size"
			}
			return nil, problem.New(problem.TooLarge, rule, "%s is larger than %s", path, sizeText(limit)).
				With("size", "%d bytes", size)
		}
		if path != "Chart.yaml" {
			return &x.requires, nil
		}
		if x.a.ChartYAML != nil {
			return nil, problem.New(problem.Invalid, "archive-duplicate", "the chart archive has two Chart.yaml").
				Suggest("build the archive with `helm package`")
		}
		return &x.a.ChartYAML, nil
	case strings.EqualFold(path, "Chart.yaml") || path == "Chart.yml":
		x.oddYAML = path
	case size > x.lim.Text:
		if path == "values.yaml" || strings.EqualFold(path, "README.md") {
			x.a.Warnings = append(x.a.Warnings, fmt.Sprintf("%s is over %s and is not shown", path, sizeText(x.lim.Text)))
		}
	case path == "values.yaml":
		return &x.a.Values, nil
	case strings.EqualFold(path, "README.md"):
		return &x.a.Readme, nil
	}
	return nil, nil
}

// again judges a file that is in the archive a second time.
func (x *reader) again(was, f File) error {
	if was != f {
		return problem.New(problem.Invalid, "archive-duplicate",
			"the chart archive has %q twice with different content, and unpackers disagree about which one counts", cut(f.Path)).
			Suggest("remove one of the two and build the archive with `helm package`")
	}
	if x.duplicates++; x.duplicates == 1 {
		x.duplicate = f.Path
	}
	return nil
}

// remember notes a path and the folders that lead to it. A path that is both
// a file and a folder cannot be unpacked and is refused.
func (x *reader) remember(path string, file int) error {
	for {
		if was, known := x.paths[path]; known {
			if (was == isFolder) != (file == isFolder) {
				return problem.New(problem.Invalid, "archive-path-conflict",
					"the chart archive has %q both as a file and as a folder", cut(path)).
					Suggest("build the archive with `helm package`")
			}
			return nil
		}
		x.paths[path] = file
		lower := strings.ToLower(path)
		if twin, known := x.lower[lower]; known && x.twins[0] == "" {
			x.twins = [2]string{twin, path}
		}
		x.lower[lower] = path
		slash := strings.LastIndexByte(path, '/')
		if slash < 0 {
			return nil
		}
		path, file = path[:slash], isFolder
	}
}

// conclude judges the archive as a whole, once all of it has been read.
func (x *reader) conclude() error {
	a := &x.a
	if a.ChartYAML == nil {
		if x.oddYAML != "" {
			return problem.New(problem.Invalid, "chart-yaml-case",
				"the chart archive has %q where Helm looks for Chart.yaml, in exactly this spelling", x.oddYAML).
				Suggest("rename the file to Chart.yaml and build the archive with `helm package`")
		}
		return problem.New(problem.Invalid, "chart-yaml-missing", "the chart archive has no Chart.yaml in its top-level folder").
			Suggest("build the archive with `helm package`")
	}
	m, warnings, err := parseMetadata(a.ChartYAML)
	if err != nil {
		return err
	}
	a.Metadata, a.Warnings = m, append(a.Warnings, warnings...)
	if err := x.requirements(); err != nil {
		return err
	}
	x.collectFaults()
	slices.SortFunc(a.Files, func(f, g File) int { return strings.Compare(f.Path, g.Path) })
	a.Content = ContentDigest(a.Files)
	return nil
}

func (x *reader) requirements() error {
	if x.requires == nil {
		return nil
	}
	a := &x.a
	replaced, err := a.Metadata.parseRequirements(x.requires)
	if err != nil {
		return err
	}
	if replaced {
		x.fault("requirements-yaml", "the chart lists dependencies in Chart.yaml and in requirements.yaml, and Helm mixes them up").
			Suggest("move all dependencies to Chart.yaml and remove requirements.yaml")
	}
	if a.Metadata.APIVersion != "v1" {
		a.Warnings = append(a.Warnings, "the chart has a requirements.yaml, which charts of apiVersion v2 do not use")
	}
	return nil
}

// collectFaults notes what a new release may not have, although every reader
// understands it alike.
func (x *reader) collectFaults() {
	a := &x.a
	if a.Folder != a.Metadata.Name {
		x.fault("archive-folder-name", "the chart's folder in the archive is %q, and the chart is called %q", cut(a.Folder), a.Metadata.Name).
			Suggest("build the archive with `helm package`")
	}
	if x.duplicates > 0 {
		x.fault("archive-duplicate", "the chart archive has %q and %d more files twice", cut(x.duplicate), x.duplicates-1).
			Suggest("see whether charts/ holds a dependency both packed and unpacked, and build the archive again with `helm package`")
	}
	if x.backslash != "" {
		x.fault("archive-path-backslash", "the chart archive has the path %q with backslashes, which most programs unpack as one odd file name", cut(x.backslash)).
			Suggest("build the archive with a Helm of 3.0 or later")
	}
	if x.twins[0] != "" {
		x.fault("archive-path-case", "the chart archive has %q and %q, which are one file on many systems", cut(x.twins[0]), cut(x.twins[1])).
			Suggest("rename one of them")
	}
}

func (x *reader) fault(rule, format string, args ...any) *problem.Error {
	p := problem.New(problem.Invalid, rule, format, args...)
	x.a.faults = append(x.a.faults, p)
	return p
}

// ContentDigest returns the digest of what is in an archive, whatever its
// packing: "sha256:" and the SHA-256 of one line for each file,
//
//	<SHA-256 in hex> <x if executable, otherwise -> <path>
//
// with a line feed at each end, the lines sorted by their bytes. Paths hold
// no line feed. Cost: n log n in the number of files.
func ContentDigest(files []File) string {
	lines := make([]string, len(files))
	buf := make([]byte, 0, 256)
	for i, f := range files {
		exec := byte('-')
		if f.Exec {
			exec = 'x'
		}
		buf = append(hex.AppendEncode(buf[:0], f.SHA256[:]), ' ', exec, ' ')
		lines[i] = string(append(append(buf, f.Path...), '\n'))
	}
	slices.Sort(lines)
	hash := sha256.New()
	for _, line := range lines {
		buf = append(buf[:0], line...)
		hash.Write(buf)
	}
	return digestString(hash.Sum(nil))
}

func digestString(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

func sizeText(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	if n >= 1<<10 && n%(1<<10) == 0 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
