WITH sete AS (SELECT t.borger_id, t.uge, t.ydelse_id, t.kommunekode, t.beloeb_oere FROM refusion.borger_uge_ydelse t
), flyttet AS (
    SELECT borger_id FROM sete GROUP BY borger_id HAVING min(kommunekode) <> max(kommunekode)
), kandidat AS (
    SELECT borger_id, uge, ydelse_id FROM sete JOIN graenser USING (ydelse_id)
    WHERE 2 * beloeb_oere > graense_oere
    UNION
    SELECT borger_id, uge, ydelse_id FROM sete SEMI JOIN flyttet USING (borger_id)
    GROUP BY borger_id, uge, ydelse_id HAVING min(kommunekode) <> max(kommunekode)
), valgt AS (
    SELECT * FROM sete SEMI JOIN kandidat USING (borger_id, uge, ydelse_id)
)
SELECT borger_id, uge, ydelse_id, any_value(graense_oere) AS graense_oere,
       sum(beloeb_oere)::BIGINT AS beloeb_oere, arg_max(kommunekode, (beloeb_oere, kommunekode)) AS kommunekode
FROM valgt JOIN graenser USING (ydelse_id)
GROUP BY borger_id, uge, ydelse_id HAVING sum(beloeb_oere) > any_value(graense_oere)
