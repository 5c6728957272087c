package hub

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Split parts a hub's id from the quantisation behind its colon, as in
// org/name-GGUF:Q4_K_M. Repositories of GGUF files hold one model many times,
// and llama.cpp and vLLM name one of them so.
func Split(id string) (repository, quantisation string) {
	repository, quantisation, _ = strings.Cut(id, ":")
	return repository, quantisation
}

// usualQuantisations are taken where nobody names one, in this order.
var usualQuantisations = []string{"Q4_K_M", "Q8_0"}

// A variant is one model among the GGUF files of a folder.
type variant struct {
	name  string   // of the file, without the number of its part
	files []string // its parts in order; an engine is given the first
	parts int      // that the names promise
}

var partOf = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// variants groups the names of GGUF files. Files that go beside a model
// (projectors of images, importance matrices) are none.
func variants(names []string) []variant {
	var found []variant
	for _, name := range slices.Sorted(slices.Values(names)) {
		base := strings.ToLower(path.Base(name))
		if path.Ext(base) != ".gguf" || strings.HasPrefix(base, "mmproj") || strings.Contains(base, "imatrix") {
			continue
		}
		v := variant{name: strings.TrimSuffix(name, path.Ext(name)), parts: 1}
		if m := partOf.FindStringSubmatch(name); m != nil {
			v.name = m[1]
			v.parts, _ = strconv.Atoi(m[3]) // five digits
		}
		if last := len(found) - 1; last >= 0 && v.parts > 1 && found[last].name == v.name {
			found[last].files = append(found[last].files, name)
			continue
		}
		v.files = []string{name}
		found = append(found, v)
	}
	return found
}

// is says whether the variant has the quantisation: its name has the word, and
// ends there or goes on with another word.
func (v variant) is(quantisation string) bool {
	name, word := strings.ToUpper(v.name), strings.ToUpper(quantisation)
	letter := func(c byte) bool { return c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' }
	for from := 0; ; {
		i := strings.Index(name[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		if (start == 0 || !letter(name[start-1])) && (end == len(name) || !letter(name[end])) {
			return true
		}
		from = start + 1
	}
}

// choose picks the variant that is wanted among the names of files: that of the
// quantisation, else the only one, else a usual one.
func choose(names []string, quantisation string) (variant, error) {
	all := variants(names)
	if len(all) == 0 {
		return variant{}, fmt.Errorf("%w: it has no GGUF file", ErrMissing)
	}
	if quantisation == "" && len(all) == 1 {
		return all[0], nil
	}
	for _, q := range append([]string{quantisation}, usualQuantisations...) {
		var match []variant
		for _, v := range all {
			if q != "" && v.is(q) {
				match = append(match, v)
			}
		}
		if len(match) > 0 {
			// Of Q4_K_M and UD-Q4_K_M the plain one.
			return slices.MinFunc(match, func(a, b variant) int { return cmp.Compare(len(a.name), len(b.name)) }), nil
		}
		if quantisation != "" {
			break
		}
	}
	there := make([]string, len(all))
	for i, v := range all {
		there[i] = path.Base(v.name)
	}
	if quantisation != "" {
		return variant{}, fmt.Errorf("%w: no GGUF file of it is %s; there are %s", ErrMissing, quantisation, strings.Join(there, ", "))
	}
	return variant{}, fmt.Errorf("%w: it has %d GGUF files, so name one by its quantisation, as in org/name:Q5_K_M; there are %s",
		ErrMissing, len(all), strings.Join(there, ", "))
}

// fileIn returns the GGUF file of a folder that an engine is given.
func fileIn(dir, quantisation string) (string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		// A link that leads nowhere is a file that is not here yet.
		if _, gone := exists(p); gone == nil {
			name, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("looking into %s: %w", dir, err)
	}
	v, err := choose(names, quantisation)
	if err != nil {
		return "", fmt.Errorf("%s: %w", dir, err)
	}
	if len(v.files) < v.parts {
		return "", fmt.Errorf("%w: %s has %d of the %d parts of %s", ErrMissing, dir, len(v.files), v.parts, v.name)
	}
	return filepath.Join(dir, filepath.FromSlash(v.files[0])), nil
}
