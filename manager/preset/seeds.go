package preset

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
)

//go:embed seeds.json
var seedFile []byte

// System returns the presets that come with Fleetune, by name.
func System() []Preset {
	list := seeds()
	return append([]Preset(nil), list...)
}

var seeds = sync.OnceValue(func() []Preset {
	var file File
	if err := json.Unmarshal(seedFile, &file); err != nil {
		panic(fmt.Sprintf("preset: the embedded presets: %v", err)) // a test reads them
	}
	list := make([]Preset, len(file.Presets))
	for i, e := range file.Presets {
		list[i] = e.preset()
		list[i].System = true
		if err := list[i].Check(); err != nil {
			panic(fmt.Sprintf("preset: the embedded preset %q: %v", e.Name, err))
		}
	}
	return list
})
