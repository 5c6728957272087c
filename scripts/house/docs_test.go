package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages are the documents whose links and examples are checked.
func pages(t *testing.T) []string {
	t.Helper()
	list := []string{}
	for _, pattern := range []string{"*.md", "shared/docs/*.md", "shared/docs/*/*.md", "deploy/examples/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Every link into the repository leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	for _, page := range pages(t) {
		for _, found := range link.FindAllStringSubmatch(read(t, page), -1) {
			target := found[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", filepath.Base(page), target)
			}
		}
	}
}

// Every test that a page names is there, in the package that it names.
func TestNamedTestsAreThere(t *testing.T) {
	cell := regexp.MustCompile("`([a-z0-9/]+)`((?: Test[A-Za-z0-9_]+,?)+)")
	name := regexp.MustCompile(`Test[A-Za-z0-9_]+`)
	for _, page := range pages(t) {
		for _, found := range cell.FindAllStringSubmatch(read(t, page), -1) {
			files, err := filepath.Glob(filepath.Join(root(t), found[1], "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var text strings.Builder
			for _, file := range files {
				text.WriteString(read(t, file))
			}
			for _, test := range name.FindAllString(found[2], -1) {
				if !strings.Contains(text.String(), "func "+test+"(") {
					t.Errorf("%s: %s has no %s", filepath.Base(page), found[1], test)
				}
			}
		}
	}
}

// The task files that the README shows are examples that run.
func TestReadmeShowsTaskFilesThatRun(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, filepath.Join(root(t), "README.md")), -1)
	if len(blocks) < 2 {
		t.Fatal("the README shows a task for a command and one for an engine")
	}
	examples, err := filepath.Glob(filepath.Join(root(t), "deploy/examples/*/task.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]bool{}
	for _, example := range examples {
		texts[read(t, example)] = true
	}
	for _, block := range blocks {
		if !texts[block[1]] {
			t.Errorf("a task file of the README differs from all in deploy/examples:\n%s", block[1])
		}
	}
}

// Scripts that the documents name are there and can be run.
func TestScriptsExist(t *testing.T) {
	name := regexp.MustCompile(`\./scripts/([a-z]+)`)
	for _, page := range pages(t) {
		for _, found := range name.FindAllStringSubmatch(read(t, page), -1) {
			info, err := os.Stat(filepath.Join(root(t), "scripts", found[1]))
			if err != nil || info.Mode()&0o111 == 0 {
				t.Errorf("%s names %s, which cannot be run", filepath.Base(page), found[0])
			}
		}
	}
}
