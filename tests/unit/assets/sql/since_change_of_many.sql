(SELECT t.* FROM refusion.borger_uge_ydelse t SEMI JOIN people_1 a
    ON t.borger_id = a.borger_id AND t.uge >= a.fra_uge WHERE t.uge >= DATE '2024-03-04'
UNION ALL FROM (SELECT t.* FROM refusion.borger_uge_ydelse t SEMI JOIN (FROM people_1 WHERE fra_uge < DATE '2024-03-04') a ON t.borger_id = a.borger_id AND t.uge >= a.fra_uge
WHERE t.borger_id IN (1) AND t.uge >= DATE '2024-01-01') t WHERE t.uge < DATE '2024-03-04') t
