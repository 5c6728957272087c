package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/fleetune/fleetune/manager/preset"
	"github.com/jackc/pgx/v5"
)

// ErrPresetExists says that a preset of this name is there.
var ErrPresetExists = errors.New("a preset of this name exists")

const presetColumns = `slug, name, description, category, runtime, parameters, metadata, created_at, updated_at`

func scanPreset(row pgx.CollectableRow) (preset.Preset, error) {
	var p preset.Preset
	err := row.Scan(&p.Slug, &p.Name, &p.Description, &p.Category, &p.Runtime, &p.Parameters, &p.Metadata, &p.CreatedAt, &p.UpdatedAt)
	return p, err
}

// Presets returns what users added, by name.
func (s *Store) Presets(ctx context.Context) ([]preset.Preset, error) {
	rows, err := s.pool.Query(ctx, `SELECT `+presetColumns+` FROM presets ORDER BY name, slug`)
	if err != nil {
		return nil, fmt.Errorf("reading presets: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanPreset)
	if err != nil {
		return nil, fmt.Errorf("reading presets: %w", err)
	}
	return list, nil
}

// AddPresets adds presets, all or none. The error is ErrPresetExists when a
// name is taken.
func (s *Store) AddPresets(ctx context.Context, list []preset.Preset) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		for _, p := range list {
			tag, err := tx.Exec(ctx, `INSERT INTO presets (slug, name, description, category, runtime, parameters, metadata)
				VALUES ($1, $2, $3, $4, $5, $6, coalesce($7, '{}'::jsonb)) ON CONFLICT DO NOTHING`,
				p.Slug, p.Name, p.Description, p.Category, p.Runtime, p.Parameters, p.Metadata)
			if err != nil {
				return fmt.Errorf("adding preset %q: %w", p.Name, err)
			}
			if tag.RowsAffected() == 0 {
				return fmt.Errorf("%q: %w", p.Name, ErrPresetExists)
			}
		}
		return nil
	})
}

// ReplacePreset changes the preset that slug names, its name included. The
// errors are ErrNotFound and ErrPresetExists.
func (s *Store) ReplacePreset(ctx context.Context, slug string, p preset.Preset) error {
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if p.Slug != slug {
			var taken bool
			if err := tx.QueryRow(ctx, `SELECT exists (SELECT 1 FROM presets WHERE slug = $1)`, p.Slug).Scan(&taken); err != nil {
				return fmt.Errorf("replacing preset %q: %w", slug, err)
			}
			if taken {
				return fmt.Errorf("%q: %w", p.Name, ErrPresetExists)
			}
		}
		tag, err := tx.Exec(ctx, `UPDATE presets SET slug = $2, name = $3, description = $4, category = $5, runtime = $6,
			parameters = $7, metadata = coalesce($8, '{}'::jsonb), updated_at = now() WHERE slug = $1`,
			slug, p.Slug, p.Name, p.Description, p.Category, p.Runtime, p.Parameters, p.Metadata)
		if err != nil {
			return fmt.Errorf("replacing preset %q: %w", slug, err)
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("preset %q: %w", slug, ErrNotFound)
		}
		return nil
	})
}

// DeletePreset removes a preset; ErrNotFound when there is none.
func (s *Store) DeletePreset(ctx context.Context, slug string) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM presets WHERE slug = $1`, slug)
	if err != nil {
		return fmt.Errorf("deleting preset %q: %w", slug, err)
	}
	if tag.RowsAffected() == 0 {
		return fmt.Errorf("preset %q: %w", slug, ErrNotFound)
	}
	return nil
}
