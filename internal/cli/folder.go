package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"helm.sh/helm/v4/pkg/ignore"

	"github.com/chartkeep/chartkeep/internal/chart"
	"github.com/chartkeep/chartkeep/internal/problem"
)

// maxFolder bounds what is read of a chart's folder, in bytes: what the registry
// takes in an archive.
var maxFolder = chart.DefaultLimits().Unpacked

// readChart returns a chart as an archive: the file's bytes, or a folder packed
// in memory as helm package would pack it. Nothing is written.
func readChart(where string) ([]byte, error) {
	info, err := os.Stat(where)
	if err != nil {
		return nil, fileProblem(where, err)
	}
	if !info.IsDir() {
		return readFile(where, chart.DefaultLimits().Archive)
	}
	if !isChart(where) {
		return nil, problem.New(problem.NotFound, "chart-folder", "the folder %s has no Chart.yaml", where)
	}
	return packFolder(where)
}

func isChart(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, "Chart.yaml"))
	return err == nil && info.Mode().IsRegular()
}

// packFolder packs what Helm would: all files but those that .helmignore names.
// Links within the folder are followed, as Helm follows them; links out of it
// are refused, since an archive of somebody else's files is a leak.
func packFolder(folder string) ([]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fileProblem(folder, err)
	}
	defer root.Close()
	rules, err := ignored(root)
	if err != nil {
		return nil, err
	}
	name, err := folderName(root, folder)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	left := maxFolder
	err = fs.WalkDir(root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil || at == "." {
			return err
		}
		info, err := root.Stat(at) // follows links, not out of the folder
		if err != nil {
			return fmt.Errorf("read %s: %w", at, err)
		}
		switch skip := rules.Ignore(at, info); {
		case skip && d.IsDir():
			return fs.SkipDir
		case skip, d.IsDir():
			return nil
		case !info.Mode().IsRegular():
			return problem.New(problem.Invalid, "chart-folder", "%s is neither a file nor a folder, or a link to a folder", at)
		}
		if left -= info.Size(); left < 0 {
			return problem.New(problem.TooLarge, "chart-folder", "the chart has more than %d MiB of files; what does not belong to it is kept out by .helmignore", maxFolder>>20)
		}
		b, err := root.ReadFile(at)
		if err != nil {
			return fmt.Errorf("read %s: %w", at, err)
		}
		head := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(name, at), Mode: 0o644, Size: int64(len(b))}
		if info.Mode()&0o100 != 0 {
			head.Mode = 0o755
		}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	if err == nil {
		err = errors.Join(w.Close(), z.Close())
	}
	if p, ok := problem.As(err); ok {
		return nil, p.With("folder", "%s", folder)
	}
	if err != nil {
		return nil, problem.New(problem.Unavailable, "chart-folder", "the folder %s cannot be read", folder).With("reason", "%v", err).Because(err)
	}
	return out.Bytes(), nil
}

// ignored are the rules of .helmignore, with those that Helm adds.
func ignored(root *os.Root) (*ignore.Rules, error) {
	rules := ignore.Empty()
	b, err := root.ReadFile(ignore.HelmIgnore)
	if err == nil {
		if rules, err = ignore.Parse(bytes.NewReader(b)); err != nil {
			return nil, problem.New(problem.Invalid, "helmignore", "the file .helmignore cannot be read").With("reason", "%v", err).Because(err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fileProblem(ignore.HelmIgnore, err)
	}
	rules.AddDefaults()
	return rules, nil
}

// folderName is the name of the chart, which its archive's folder has. A chart
// without one gets that of its folder: reading the archive says what is wrong.
func folderName(root *os.Root, folder string) (string, error) {
	b, err := root.ReadFile("Chart.yaml")
	if err != nil {
		return "", fileProblem(filepath.Join(folder, "Chart.yaml"), err)
	}
	if m, err := chart.ParseMetadata(b); err == nil && m.Name != "" && !strings.ContainsAny(m.Name, `/\`) && m.Name != "." && m.Name != ".." {
		return m.Name, nil
	}
	return "chart", nil
}
