package web

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chartkeep/chartkeep/internal/release"
)

// fileView is a file of a chart as text.
type fileView struct {
	Name, Size, Text string
	Open             bool // else folded
}

// fileNames are the files that a release's page shows, if a chart has them.
var fileNames = []string{"README.md", "README.txt", "README", "readme.md", "values.yaml"}

// showFiles reads the files out of the archive. Cost: unpacking it, after
// hashing it once for each start of the server; so it is done on demand.
func (p *releasePage) showFiles(ctx context.Context, d *Door, c release.Caller, rel *release.Release) error {
	p.FilesShown = true
	files, err := d.svc.ArchiveFiles(ctx, c, rel.Project, rel.Chart, rel.Version, fileNames...)
	if err != nil {
		return err
	}
	for _, name := range fileNames {
		if b, ok := files[name]; ok {
			p.Files = append(p.Files, fileView{name, size(int64(len(b))), plainText(b), len(p.Files) == 0})
		}
	}
	return nil
}

// plainText is a foreign file as a page can show it: what is no text, would not
// be seen or would turn the text around is U+FFFD.
func plainText(b []byte) string {
	return strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && unicode.IsControl(c) || c&0xfffe == 0xfffe || unicode.Is(unicode.Bidi_Control, c) {
			return utf8.RuneError
		}
		return c
	}, strings.ReplaceAll(strings.ToValidUTF8(string(b), string(utf8.RuneError)), "\r\n", "\n"))
}
