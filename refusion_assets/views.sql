-- What analysts ask for by name; made of the tables, never stored twice.

CREATE OR REPLACE VIEW classified.karantaene AS
SELECT f.filnavn, d.linje, i.Lb_nr AS lb_nr, d.regel, l.indberetning_id, l.borger_id, l.konto, l.ydelse_id,
       l.beloeb_oere, f.kilde, f.enhed, f.modtaget_maaned
FROM classified.dom d
JOIN classified.linje l USING (fil_id, linje)
JOIN raw.indberetning i USING (fil_id, linje)
JOIN raw.fil f USING (fil_id)
WHERE d.status = 'karantaene';

CREATE OR REPLACE VIEW duration.borger_uge AS
WITH uger AS (
    SELECT f.*, unnest(generate_series(0, antal_uger - 1)) AS nr FROM duration.forloeb f
), talt AS (
    SELECT borger_id, fra_uge + CAST(7 * nr AS INTEGER) AS uge, art, taelling, taeller,
           genoptjent AND nr = antal_uger - 1 AS genoptjent,
           CASE WHEN art = 'A' THEN n_foer + nr + 1 ELSE n_foer END AS n
    FROM uger
), frie AS (
    SELECT t.borger_id, t.uge, count(*) AS antal
    FROM talt t
    ASOF JOIN regler.genoptjening g ON t.uge >= g.gaelder_fra_uge
    JOIN talt s ON s.borger_id = t.borger_id AND s.taelling = t.taelling AND s.taeller
         AND s.uge BETWEEN t.uge - to_years(CAST(g.vindue_aar AS INTEGER)) AND t.uge
    GROUP BY t.borger_id, t.uge
)
SELECT t.borger_id, t.uge, t.art, t.taelling,
       CASE WHEN t.genoptjent THEN 0 ELSE t.n END AS ydelsestaeller,
       CASE WHEN t.genoptjent THEN 0 ELSE coalesce(frie.antal, 0) END AS genoptjeningstaeller,
       t.genoptjent
FROM talt t LEFT JOIN frie USING (borger_id, uge);

CREATE OR REPLACE VIEW opgoerelse.afregnet AS
SELECT p.* FROM opgoerelse.postering p
ANTI JOIN (
    SELECT uge, maaned, borger_id, ydelse_id, kommunekode, oprindelig_koersel AS koersel
    FROM opgoerelse.postering WHERE raekketype = 'T'
) t USING (uge, maaned, borger_id, ydelse_id, kommunekode, koersel)
WHERE p.raekketype <> 'T';
